"""Dense truth in stores and samples."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from egodtm_robot.core.errors import DatasetError, InvalidClipError
from pretrain.clips.augmentation import AugmentationConfig, Crop, central_crop, crop_dense
from pretrain.clips.clip import Clip
from pretrain.clips.dataset import ClipDataset, Draw, SampleSpec
from pretrain.clips.dense import CLASSES, DENSE_KINDS, frame_pairs
from pretrain.clips.store import ClipStore, ClipStoreWriter

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_clip, make_dense_clip, make_dense_store, make_store

SPEC = SampleSpec(32, (8, 8), dense=DENSE_KINDS, dense_cells=(8, 8), dense_tokens=(2, 2))


def test_pairs_are_earlier_before_later():
    assert frame_pairs(1) == []
    assert frame_pairs(3) == [(0, 1), (0, 2), (1, 2)]


def test_truth_comes_back_and_stores_without_it_are_as_before(tmp_path):
    make_dense_store(tmp_path / "dense", range(3))
    make_store(tmp_path / "plain", range(3))
    given, store = make_dense_clip(2), ClipStore.open(tmp_path / "dense")
    found = store[2]
    np.testing.assert_array_equal(found.segmentation, given.segmentation)
    np.testing.assert_allclose(found.normals, given.normals, atol=0.005)
    np.testing.assert_allclose(found.points, given.points, atol=1e-5, equal_nan=True)
    assert np.isnan(found.points).any()
    np.testing.assert_array_equal(found.looks, given.looks)
    assert store.verify() == []
    plain = ClipStore.open(tmp_path / "plain")
    assert plain[0].dense == ()
    assert plain.read([0], ["normals"]) == {"normals": [None]}
    # A reader of before opens it: its version says so.
    assert plain._shards[0].group.attributes["version"] == 1
    assert "dense" not in plain._shards[0].group.attributes
    assert store._shards[0].group.attributes["version"] == 2
    both = ClipStore.open([tmp_path / "plain", tmp_path / "dense"])
    assert both.has("points").tolist() == [False] * 3 + [True] * 3


def test_all_clips_of_a_store_have_the_same_truth(tmp_path):
    with (
        ClipStoreWriter.create(tmp_path / "a", dense=["segmentation"]) as writer,
        pytest.raises(
            InvalidClipError, match=r"with segmentation in .* with segmentation, normals"
        ),
    ):
        writer.append([make_dense_clip(0)])
    with (
        ClipStoreWriter.create(tmp_path / "b") as writer,
        pytest.raises(InvalidClipError, match="no dense truth"),
    ):
        writer.append([make_dense_clip(0)])


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("segmentation", lambda values: values + np.uint8(len(CLASSES)), "segmentation within"),
        ("segmentation", lambda values: values[:, 0], r"segmentation \(4, h, w\)"),
        ("normals", lambda values: values * np.float32(2), "normals within"),
        ("points", lambda values: values[:3], r"points \(6, h, w, 2\)"),
        ("points", lambda values: values.astype(np.float64), "array of float32 as points"),
        ("looks", lambda values: values[:, 1:], "looks of shape"),
        ("looks", lambda values: values.astype(np.float32), "array of uint8 as looks"),
    ],
)
def test_truth_that_contradicts_itself_is_refused(kind, change, message):
    clip = make_dense_clip(0)
    setattr(clip, kind, change(getattr(clip, kind)))
    with pytest.raises(InvalidClipError, match=message):
        clip.check()


def test_samples_hold_the_truth_of_their_crop(tmp_path):
    data = ClipDataset(ClipStore.open(make_dense_store(tmp_path / "a", range(4))), SPEC, seed=5)
    batch = data.batch([Draw(1), Draw(2, 7)])
    assert batch.dense is not None
    assert batch.dense["segmentation"].shape == (2, 4, 8, 8)
    assert batch.dense["normals"].shape == (2, 4, 8, 8, 3)
    assert batch.dense["points"].shape == (2, 6, 2, 2, 2)
    clip = make_dense_clip(1)
    np.testing.assert_array_equal(batch.dense["segmentation"][0], clip.segmentation)
    # Where the object is seen, it is one in the depth of the same sample as well.
    near = batch.depth[1] < 0.6
    assert ((batch.dense["segmentation"][1] == 6) == near).float().mean() > 0.9
    single = data.batch([Draw(1, 0, True), Draw(3, 1, True)])
    assert single.dense["normals"].shape == (2, 1, 8, 8, 3)
    assert single.dense["points"].shape == (2, 0, 2, 2, 2)
    moved = batch.to(torch.device("cpu"))
    assert moved.dense.keys() == batch.dense.keys()


def test_another_look_is_cut_where_the_frames_are_and_keeps_its_own_colors(tmp_path):
    store = ClipStore.open(make_dense_store(tmp_path / "a", range(4)))
    still = AugmentationConfig(brightness=0, contrast=0, saturation=0, tint=0)
    spec = SampleSpec(32, (8, 8), dense=("looks",))
    data = ClipDataset(store, spec, still, seed=5)
    # The fake's other look is the negative of its frames, also where only a part of them is kept.
    for draws in ([Draw(1), Draw(2, 7)], [Draw(2, 7, True), Draw(3, 1, True)]):
        plain = data.batch(draws)
        assert (plain.dense["looks"].int() + plain.frames - 255).abs().max() <= 1
    assert not torch.equal(data.batch([Draw(2, 7)]).frames[0], torch.from_numpy(store[2].frames))
    colored = ClipDataset(store, spec, seed=5).batch([Draw(2, 7)])
    assert (colored.dense["looks"].int() + colored.frames - 255).abs().max() > 5


def test_points_are_cut_as_frames_are():
    still = (np.stack(np.meshgrid(*(np.arange(16),) * 2), axis=-1) + 0.5) / 16
    points = np.stack([still + np.array([0.25, 0.0])] * 6).astype(np.float32)
    whole = crop_dense({"points": points}, central_crop(64, 64), (4, 4), (4, 4))["points"]
    centers = torch.from_numpy(np.stack(np.meshgrid(*(np.arange(4),) * 2), axis=-1) + 0.5) / 4
    torch.testing.assert_close(whole[0, :, :3], (centers + torch.tensor([0.25, 0]))[:, :3].float())
    assert whole[0, :, 3].isnan().all()  # they leave the frame
    # The right lower quarter: a way of a quarter of the frame is half of the crop.
    crop = Crop(32, 32, 32, 32, (64, 64))
    cut = crop_dense({"points": points}, crop, (4, 4), (4, 4))["points"]
    torch.testing.assert_close(cut[2, :, :2], (centers + torch.tensor([0.5, 0]))[:, :2].float())
    assert cut[2, :, 2:].isnan().all()


def test_clips_without_the_truth_are_named(tmp_path):
    store = ClipStore.open(make_store(tmp_path / "plain", range(3)))
    with pytest.raises(DatasetError, match=r"clips with segmentation .*synthetic\.dense="):
        ClipDataset(store, SPEC)
    assert isinstance(make_clip(0), Clip)
    spec = dataclasses.replace(SPEC, dense=())
    assert ClipDataset(store, spec).batch([Draw(0)]).dense is None
