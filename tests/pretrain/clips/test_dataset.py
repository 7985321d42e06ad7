import dataclasses
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from egodtm_robot.core.errors import ConfigurationError, DatasetError
from pretrain.clips import Boxes, ClipStore, ClipStoreWriter
from pretrain.clips.augmentation import (
    AugmentationConfig,
    Crop,
    central_crop,
    crop_boxes,
    crop_depth,
    crop_frames,
    jitter,
    random_crop,
)
from pretrain.clips.dataset import ClipBatch, ClipDataset, Draw, SampleSpec
from pretrain.clips.stream import StreamSampler, clip_at, training_loader
from pretrain.model.tokenizer import tokenize

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_clip, make_store

SPEC = SampleSpec(resolution=24, depth_size=(6, 6), boxes=True, text="random")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return ClipStore.open(make_store(tmp_path_factory.mktemp("clips") / "store", range(11)))


def same(first: ClipBatch, second: ClipBatch) -> bool:
    for name in ("frames", "tokens", "depth", "index"):
        a, b = getattr(first, name), getattr(second, name)
        if not torch.equal(a.nan_to_num(-1), b.nan_to_num(-1)):
            return False
    return all(
        np.array_equal(a.xyxy, b.xyxy) and a.category == b.category
        for a, b in zip(first.boxes, second.boxes, strict=True)
    )


# -- order -----------------------------------------------------------------------------------------


def test_every_clip_comes_once_in_each_run_through_the_clips():
    stream = [clip_at(place, 7, seed=3) for place in range(28)]
    epochs = [stream[start : start + 7] for start in range(0, 28, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert stream != [clip_at(place, 7, seed=4) for place in range(28)]


def test_draws_depend_on_seed_and_step_alone_and_are_shared_among_processes():
    whole = list(StreamSampler(11, seed=5, batch_size=6, start=0, stop=9))
    assert list(StreamSampler(11, seed=5, batch_size=6, start=4, stop=9)) == whole[4:]
    parts = [list(StreamSampler(11, 5, 6, 0, 9, process=r, processes=3)) for r in range(3)]
    for step, batch in enumerate(whole):
        assert [draw for part in parts for draw in part[step]] == batch
    with pytest.raises(ConfigurationError, match="3 processes can share"):
        StreamSampler(11, 5, 8, 0, 9, processes=3)
    with pytest.raises(ConfigurationError, match="images 8"):
        StreamSampler(11, 5, 6, 0, 9, processes=3, image_steps=2, image_batch_size=8)


def test_the_first_steps_draw_more_samples_of_one_frame_each_and_the_stream_goes_on_behind_them():
    def sampler(start=0, **options):
        return StreamSampler(11, 5, 6, start, 5, image_steps=2, image_batch_size=9, **options)

    whole = list(sampler())
    assert [len(draws) for draws in whole] == [9, 9, 6, 6, 6]
    assert [draw.place for draws in whole for draw in draws] == list(range(36))
    assert [draws[0].single for draws in whole] == [True, True, False, False, False]
    assert list(sampler(start=1)) == whole[1:]
    parts = [list(sampler(process=r, processes=3)) for r in range(3)]
    assert [[*a, *b, *c] for a, b, c in zip(*parts, strict=True)] == whole


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_that_starts_later_gives_the_same_batches(store, workers):
    dataset = ClipDataset(store, SPEC, seed=1)
    expected = [dataset.batch(draws) for draws in StreamSampler(11, 1, 4, 0, 6)]
    loader = training_loader(dataset, StreamSampler(11, 1, 4, 2, 6), workers)
    found = list(loader)
    assert len(found) == 4
    assert all(same(a, b) for a, b in zip(found, expected[2:], strict=True))


def test_seeds_and_places_give_different_samples_of_a_clip(store):
    dataset, other = ClipDataset(store, SPEC, seed=1), ClipDataset(store, SPEC, seed=2)
    once = dataset.batch([Draw(0, 0)])
    assert same(once, pickle.loads(pickle.dumps(dataset)).batch([Draw(0, 0)]))
    assert not same(once, dataset.batch([Draw(0, 11)]))
    assert not same(once, other.batch([Draw(0, 0)]))


# -- samples ---------------------------------------------------------------------------------------


def test_shapes_and_types_of_a_batch(store):
    batch = ClipDataset(store, SPEC).batch([Draw(3, 0), Draw(4, 1), Draw(3, 2)])
    assert (batch.frames.shape, batch.frames.dtype) == ((3, 4, 24, 24, 3), torch.uint8)
    assert (batch.depth.shape, batch.depth.dtype) == ((3, 4, 6, 6), torch.float32)
    assert (batch.tokens.shape, batch.tokens.dtype) == ((3, 77), torch.int64)
    assert batch.index.tolist() == [3, 4, 3]
    assert len(batch.boxes) == len(batch) == 3


def test_a_data_set_may_be_a_part_of_a_store(store):
    dataset = ClipDataset(store, SPEC, clips=np.array([7, 3]))
    assert len(dataset) == 2
    assert dataset.read([1, 0], ["key"])["key"] == ["square/3", "square/7"]
    whole = ClipDataset(store, SPEC).batch([Draw(3)])
    assert torch.equal(dataset.batch([Draw(1)]).frames, whole.frames)


def test_evaluation_has_no_randomness_and_reads_the_caption(store):
    dataset = ClipDataset(store, dataclasses.replace(SPEC, resolution=32, depth_size=(8, 8)))
    batch = dataset.batch([Draw(2)])
    clip = make_clip(2)
    np.testing.assert_array_equal(batch.frames[0].numpy(), clip.frames)
    np.testing.assert_allclose(batch.depth[0].numpy(), clip.depth, atol=1e-4)
    np.testing.assert_allclose(batch.boxes[0].xyxy, clip.boxes.xyxy, atol=1e-6)
    assert torch.equal(batch.tokens, tokenize([clip.caption]))


def test_both_texts_are_drawn_about_equally_often(store):
    dataset = ClipDataset(store, SampleSpec(8, text="random"))
    tokens = dataset.batch([Draw(0, place) for place in range(200)]).tokens
    clip = make_clip(0)
    captions = (tokens == tokenize([clip.caption])).all(dim=1)
    narrations = (tokens == tokenize([clip.narration])).all(dim=1)
    assert (captions ^ narrations).all()
    assert 70 < captions.sum() < 130
    for text in ("narration", "caption"):
        fixed = ClipDataset(store, SampleSpec(8, text=text)).batch([Draw(0, 1), Draw(0, 2)])
        assert torch.equal(fixed.tokens, tokenize([getattr(clip, text)] * 2))


def test_captions_come_with_their_own_false_captions_and_narrations_with_none(store, tmp_path):
    dataset = ClipDataset(store, SampleSpec(8, text="random", negatives=3))
    batch = dataset.batch([Draw(0, place) for place in range(60)])
    assert batch.negatives.shape == (60, 3, 77)
    clip = make_clip(0)
    assert len(clip.distractors) == 4
    false = {tuple(ids) for ids in tokenize(clip.distractors).tolist()}
    is_caption = (batch.tokens == tokenize([clip.caption])).all(dim=1)
    drawn = [{tuple(ids) for ids in rows} for rows in batch.negatives[is_caption].tolist()]
    assert all(len(rows) == 3 and rows < false for rows in drawn)
    assert set().union(*drawn) == false
    assert not batch.negatives[~is_caption].any()
    # A sample is the same with and without them.
    plain = ClipDataset(store, SampleSpec(8, text="random"))
    again = plain.batch([Draw(0, place) for place in range(60)])
    assert torch.equal(again.frames, batch.frames)
    assert torch.equal(again.tokens, batch.tokens)

    bare = dataclasses.replace(make_clip(1), distractors=make_clip(1).distractors[:1])
    with ClipStoreWriter.create(tmp_path / "few", {}, shard=0) as writer:
        writer.append([bare, dataclasses.replace(bare, distractors=())])
    few = ClipDataset(ClipStore.open(tmp_path / "few"), SampleSpec(8, negatives=2))
    rows = few.batch([Draw(0), Draw(1)]).negatives
    assert torch.equal(rows[0, 0], tokenize(bare.distractors)[0])
    assert not rows[0, 1].any()
    assert not rows[1].any()


def test_a_single_frame_comes_with_its_own_depth_and_boxes(store):
    spec = SampleSpec(32, (8, 8), boxes=True, text="random", negatives=2)
    plain = AugmentationConfig(1, 1, 0, 0, 0, 0)
    dataset = ClipDataset(store, spec, plain)
    batch = dataset.batch([Draw(3, place, single=True) for place in range(40)])
    assert batch.frames.shape == (40, 1, 32, 32, 3)
    assert batch.depth.shape == (40, 1, 8, 8)
    assert not batch.negatives.any()
    clip = make_clip(3)
    drawn = set()
    for frames, depth, boxes in zip(batch.frames, batch.depth, batch.boxes, strict=True):
        (frame,) = [f for f in range(4) if np.array_equal(clip.frames[f], frames[0].numpy())]
        np.testing.assert_allclose(depth[0], clip.depth[frame], atol=1e-4)
        np.testing.assert_allclose(boxes.xyxy, clip.boxes.xyxy[frame : frame + 1], atol=1e-6)
        assert boxes.frame.tolist() == [0]
        drawn.add(frame)
    assert drawn == {0, 1, 2, 3}


def test_what_was_not_asked_for_is_left_out(store):
    batch = ClipDataset(store, SampleSpec(8)).batch([Draw(0, 0)])
    assert batch.negatives is None
    assert batch.depth is None
    assert batch.boxes is None


def test_clips_without_depth_or_boxes_are_told_apart(tmp_path):
    bare = dataclasses.replace(make_clip(1, depth=False), boxes=Boxes.empty())
    holes = make_clip(2)
    holes.depth[1] = np.nan
    with ClipStoreWriter.create(tmp_path / "clips") as writer:
        writer.append([make_clip(0), bare, holes])
    batch = ClipDataset(ClipStore.open(tmp_path / "clips"), SPEC).batch(
        [Draw(0, 0), Draw(1, 1), Draw(2, 2)]
    )
    unknown = batch.depth.isnan().flatten(2).all(dim=2)
    assert unknown.tolist() == [[False] * 4, [True] * 4, [False, True, False, False]]
    assert not batch.depth[2, 0].isnan().any()
    assert [boxes is None for boxes in batch.boxes] == [False, True, False]


def test_stores_that_do_not_suffice_are_refused(store, tmp_path):
    with pytest.raises(DatasetError, match="at least one clip"):
        ClipDataset(store, SPEC, clips=np.array([], int))
    ClipStoreWriter.create(tmp_path / "empty").close()
    with pytest.raises(DatasetError, match="at least one clip"):
        ClipDataset(ClipStore.open(tmp_path / "empty"), SPEC)
    short = make_clip(0)
    boxes = dataclasses.replace(
        short.boxes,
        **{name: getattr(short.boxes, name)[:2] for name in
           ("frame", "track", "side", "contact", "xyxy", "category")},
    )  # fmt: skip
    parts = {name: getattr(short, name)[:2] for name in ("frames", "depth", "masks")}
    with ClipStoreWriter.create(tmp_path / "short") as writer:
        writer.append([dataclasses.replace(short, boxes=boxes, **parts)])
    with pytest.raises(DatasetError, match=r"\[2, 4\] frames"):
        ClipDataset(ClipStore.open([*store.paths, tmp_path / "short"]), SPEC)


# -- crops and colors -----------------------------------------------------------------------------


def test_crops_stay_within_the_frame_and_keep_enough_of_it():
    random = np.random.default_rng(0)
    config = AugmentationConfig(smallest_crop=0.5, aspect=1.5)
    for _ in range(200):
        crop = random_crop(48, 64, config, random)
        assert 0 <= crop.top <= crop.top + crop.height <= 48
        assert 0 <= crop.left <= crop.left + crop.width <= 64
        assert crop.height * crop.width >= 0.4 * 48 * 64
    whole = random_crop(48, 64, AugmentationConfig(smallest_crop=1, aspect=1), random)
    assert whole.height == 48
    assert central_crop(48, 64) == Crop(0, 8, 48, 48, (48, 64))


def test_frames_depth_and_boxes_are_cut_alike():
    # A bright square that is near: where it is bright it must stay near and within its box.
    frames = np.full((2, 60, 80, 3), 10, np.uint8)
    depth = np.full((2, 30, 40), 3.0, np.float32)
    frames[:, 20:44, 36:60] = 250
    depth[:, 10:22, 18:30] = 1.0
    boxes = Boxes(
        np.array([0, 1], np.int16),
        np.zeros(2, np.int16),
        ["mug"] * 2,
        np.zeros(2, np.int8),
        np.ones(2, bool),
        np.tile(np.array([[36 / 80, 20 / 60, 60 / 80, 44 / 60]], np.float32), (2, 1)),
    )
    random = np.random.default_rng(0)
    for _ in range(20):
        crop = random_crop(60, 80, AugmentationConfig(smallest_crop=0.4), random)
        bright = crop_frames(frames, crop, 32).numpy()[..., 0] > 130
        near = crop_depth(depth, crop, (32, 32), 2).numpy() < 2
        assert (bright != near).mean() < 0.03
        left, top, right, bottom = crop_boxes(boxes, crop).xyxy[0] * 32
        rows, columns = np.nonzero(bright[0])
        assert abs(rows.min() - top) <= 1
        assert abs(rows.max() + 1 - bottom) <= 1
        assert abs(columns.min() - left) <= 1
        assert abs(columns.max() + 1 - right) <= 1


def test_a_coarser_depth_grid_holds_means_of_what_is_known():
    depth = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    whole = Crop(0, 0, 16, 16, (16, 16))
    expected = depth.reshape(1, 4, 2, 4, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(crop_depth(depth, whole, (4, 4), 1).numpy(), expected, atol=1e-4)
    depth[0, 0, :2] = np.nan  # half of the first cell
    depth[0, 2:4, 2:4] = np.nan  # all of another
    found = crop_depth(depth, whole, (4, 4), 1).numpy()
    assert found[0, 0, 0] == pytest.approx((8 + 9) / 2, abs=1e-4)
    assert np.isnan(found[0, 1, 1])
    assert np.isnan(found).sum() == 1


def test_boxes_mostly_outside_a_crop_are_dropped():
    boxes = Boxes(
        np.zeros(3, np.int16),
        np.arange(3, dtype=np.int16),
        ["hand", "mug", "jar"],
        np.array([1, 0, 0], np.int8),
        np.zeros(3, bool),
        np.array([[0, 0, 0.4, 0.4], [0.45, 0.1, 0.9, 0.3], [0.6, 0.6, 1, 1]], np.float32),
    )
    found = crop_boxes(boxes, Crop(0, 0, 50, 50, (100, 100)))
    assert found.category == ["hand"]
    np.testing.assert_allclose(found.xyxy, [[0, 0, 0.8, 0.8]], atol=1e-6)
    found.check(1)


def test_colors_change_alike_in_all_frames_and_no_change_means_none():
    frames = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8), 4, 0)
    changed = jitter(frames, AugmentationConfig(), np.random.default_rng(1))
    assert (changed.dtype, changed.shape) == (np.uint8, frames.shape)
    assert (changed == changed[:1]).all()
    assert (changed != frames).any()
    none = AugmentationConfig(brightness=0, contrast=0, saturation=0, tint=0)
    np.testing.assert_array_equal(jitter(frames, none, np.random.default_rng(1)), frames)
    tiny = AugmentationConfig(brightness=1e-9, contrast=0, saturation=0, tint=0)
    np.testing.assert_array_equal(jitter(frames, tiny, np.random.default_rng(1)), frames)


@pytest.mark.parametrize("settings", [{"smallest_crop": 0}, {"aspect": 0.5}, {"tint": 1.0}])
def test_impossible_augmentations_are_refused(settings):
    with pytest.raises(ConfigurationError):
        AugmentationConfig(**settings)
