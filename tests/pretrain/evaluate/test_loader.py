"""Loaders are settings with published presets, and each has its own measurements."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from egodtm_robot.core.configuration.composition import compose
from egodtm_robot.core.configuration.instantiation import group_names
from egodtm_robot.core.errors import ConfigurationError, DatasetError, ResumeMismatchError
from pretrain.clips import ClipStore
from pretrain.clips.store import ClipStoreWriter
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.evaluation import EvaluateConfig, evaluate
from pretrain.evaluate.loader import LoaderConfig
from pretrain.evaluate.registry import make_task
from pretrain.evaluate.retrieval import Retrieval
from pretrain.evaluate.task import EvaluationDataError

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_clip, make_store


class Colors:
    """Embeds a clip as its mean colors and a text as the colors that it names."""

    name, fingerprint, frames, resolution = "colors", "colors-1", None, 24

    def __init__(self, frames: int | None = None):
        self.asked = 0
        self.frames = frames

    def encode_video(self, frames):
        self.asked += len(frames)
        return torch.nn.functional.normalize(frames.float().mean(dim=(1, 2, 3)), dim=-1)

    def encode_text(self, texts):
        rows = [[text.count(color) + 0.01 for color in ("red", "green", "blue")] for text in texts]
        return torch.nn.functional.normalize(torch.tensor(rows), dim=-1)

    def to(self, device):
        return self


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ClipStore:
    return ClipStore.open(make_store(tmp_path_factory.mktemp("clips") / "store", range(8)))


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> ClipStore:
    """Clips of 36 frames of 16 x 28 pixels, whose colors change from left to right and in time."""
    path = tmp_path_factory.mktemp("clips") / "wide"
    clips = []
    for seed in range(5):
        clip = make_clip(seed, depth=False)
        across = np.linspace(0, 200, 28).astype(np.uint8)
        clip.frames = np.zeros((36, 16, 28, 3), np.uint8)
        clip.frames[..., 0] = across
        clip.frames[..., 1] = (5 * np.arange(36))[:, None, None]
        clip.frames[..., 2] = 40 * seed
        clip.masks = None
        clips.append(clip)
    with ClipStoreWriter.create(path) as writer:
        writer.append(clips)
    return ClipStore.open(path)


@pytest.mark.parametrize("name", group_names("loader"))
def test_every_preset_composes_bears_its_name_and_shows_clips(name, wide):
    loader = compose(EvaluateConfig, "evaluate", [f"loader={name}"]).loader
    assert loader.name == name
    data = EvaluationClips(wide, resolution=24, loader=loader)
    found = data.embed_videos(Colors(), range(5))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    shown = data.frames([0]).shape
    assert shown[1] == (36 if loader.frames is None else loader.frames)


def test_a_clip_of_several_views_is_their_mean(wide):
    loader = LoaderConfig(choice="windows", windows=2, stride=2, frames=4, crop="three")
    data = EvaluationClips(wide, resolution=24, loader=loader)
    assert data.views == 6
    model = Colors()
    (found,) = data.embed_videos(model, [3])
    assert model.asked == 5 * 6
    views = torch.stack(list(data.view_frames(3)))
    assert views.shape == (6, 4, 24, 24, 3)
    mean = model.encode_video(views).mean(dim=0)
    np.testing.assert_allclose(found, (mean / mean.norm()).numpy(), rtol=1e-5)
    # The first window begins with the clip, the last ends with it; squares go from left to right.
    assert views[0, 0, 0, 0, 1] == 0
    assert views[3, 0, 0, 0, 1] == 5 * (36 - 8)
    lightness = views[:3, 0, :, :, 0].float().mean(dim=(1, 2)).tolist()
    assert lightness == sorted(lightness)
    # What needs one view has the last window's middle square.
    assert torch.equal(data.frames([3])[0], views[4])


def test_depth_and_boxes_follow_the_picture(store):
    part = EvaluationClips(store, resolution=32, loader=LoaderConfig(crop_share=0.5))
    whole = EvaluationClips(store, resolution=32)
    # Half of the square in the middle has the cells in the middle.
    inside = whole.depth([2], (8, 8))[..., 2:6, 2:6]
    assert torch.allclose(part.depth([2], (4, 4)), inside)
    for found, boxes in zip(part.boxes(range(8)), whole.boxes(range(8)), strict=True):
        for box, frame in zip(found.xyxy, found.frame, strict=True):
            (true,) = boxes.xyxy[boxes.frame == frame]
            np.testing.assert_allclose(box, np.clip(2 * true - 0.5, 0, 1), atol=1e-6)


def test_texts_are_the_loader_s(store):
    def asked(**settings) -> list[str]:
        return EvaluationClips(store, resolution=24, loader=LoaderConfig(**settings)).texts(
            [0], "caption"
        )

    clip = make_clip(0)
    assert asked() == asked(text="caption") == [clip.caption]
    assert asked(text="narration") == [clip.narration]
    data = EvaluationClips(
        store, resolution=24, loader=LoaderConfig(tags="drop", template="{} red")
    )
    (found,) = data.embed_texts(Colors(), ["#C C moves"])
    np.testing.assert_array_equal(found, Colors().encode_text(["moves red"])[0].numpy())


def test_what_is_seen_decides_the_cache_and_all_settings_decide_the_records(store, tmp_path):
    def embed(**settings) -> tuple[EvaluationClips, int]:
        loader, model = LoaderConfig(**settings), Colors()
        data = EvaluationClips(store, resolution=24, loader=loader, cache=tmp_path)
        data.embed_videos(model, range(8))
        return data, model.asked

    usual, asked = embed()
    assert asked == 8
    assert embed(name="another name")[1] == 0
    words, asked = embed(lower_case=True, similarity="dual_softmax", tags="drop", template="a {}")
    assert asked == 0  # the same pictures
    assert words.fingerprint != usual.fingerprint
    changes = [
        {"frames": 2}, {"frames": 2, "choice": "lavila"}, {"frames": 2, "choice": "random"},
        {"frames": 2, "choice": "random", "seed": 1}, {"frames": 2, "choice": "center"},
        {"crop": "squash"}, {"crop_share": 0.5}, {"side": 16}, {"resampling": "bilinear"},
    ]  # fmt: skip
    seen = [usual.seen]
    for change in changes:
        data, asked = embed(**change)
        assert asked == 8, change
        seen.append(data.seen)
    assert len(set(seen)) == len(seen)
    assert usual.selection == words.selection == data.selection


def test_settings_that_do_not_fit_together_are_refused(store):
    with pytest.raises(ConfigurationError, match=r"\{\} in the text's place"):
        LoaderConfig(template="a video")
    with pytest.raises(ConfigurationError, match="loader.windows=1 with loader.choice=lavila"):
        LoaderConfig(choice="lavila", windows=3)
    with pytest.raises(ConfigurationError, match="loader.stride=1 with loader.choice=egovlp"):
        LoaderConfig(choice="egovlp", stride=2)
    with pytest.raises(DatasetError, match="at least 16 stored frames for loader=long"):
        EvaluationClips(store, resolution=24, loader=LoaderConfig(name="long", frames=16))


def test_a_model_of_few_frames_refuses_a_loader_of_many_before_clips_are_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "pretrain.evaluate.evaluation.make_video_text_model", lambda config: Colors(frames=4)
    )
    monkeypatch.setattr("pretrain.evaluate.evaluation.make_held_out", None)
    config = EvaluateConfig(device="cpu", threads=1, run_dir=str(tmp_path / "run"))
    config.loader = LoaderConfig(name="long", frames=16)
    with pytest.raises(ConfigurationError, match="at most 4 frames.*got 16 of loader=long"):
        evaluate(config)
    # What a model can't do is said as early.
    config = EvaluateConfig(device="cpu", threads=1, tasks=["retrieval", "regions"])
    with pytest.raises(ConfigurationError, match="a model with boxes for the task regions"):
        evaluate(config)


def test_a_changed_loader_goes_to_another_folder_and_a_given_one_is_refused(
    store, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    model = Colors()
    monkeypatch.setattr("pretrain.evaluate.evaluation.make_video_text_model", lambda config: model)

    def run(**settings) -> Path:
        config = EvaluateConfig(device="cpu", threads=1, tasks=["retrieval"])
        config.data.path, config.data.clips = str(store.paths[0]), None
        config.loader = LoaderConfig(**settings)
        return evaluate(config)[1]

    first = run()
    assert model.asked == 8
    second = run(name="dual", similarity="dual_softmax")
    assert model.asked == 8  # another similarity of the same embeddings
    assert first != second
    results = [json.loads((folder / "results.json").read_text()) for folder in (first, second)]
    assert [found["loader"]["name"] for found in results] == ["default", "dual"]
    assert results[0]["data"]["selection"] == results[1]["data"]["selection"]
    run(crop_share=0.5)
    assert model.asked == 16


def test_a_folder_of_another_loader_names_what_differs(store, tmp_path, monkeypatch):
    monkeypatch.setattr("pretrain.evaluate.evaluation.make_video_text_model", lambda _: Colors())

    def run(**settings) -> None:
        config = EvaluateConfig(device="cpu", threads=1, tasks=["retrieval"], cache=None)
        config.data.path, config.data.clips = str(store.paths[0]), None
        config.loader, config.run_dir = LoaderConfig(**settings), str(tmp_path / "run")
        evaluate(config)

    run()
    with pytest.raises(ResumeMismatchError, match="loader.crop_share, loader.tags differ"):
        run(crop_share=0.5, tags="drop")


class NotFinite(Colors):
    """A model all of whose answers are NaN."""

    def encode_video(self, frames):
        return torch.full((len(frames), 3), torch.nan)

    def depth(self, frames):
        return torch.full((*frames.shape[:2], 8, 8), torch.nan)

    def boxes(self, frames):
        return torch.full((*frames.shape[:2], 3, 4), torch.nan)


@pytest.mark.parametrize(
    "task", ["retrieval", "multiple_choice", "egomcq", "depth", "depth_probe", "regions"]
)
def test_answers_that_are_not_finite_are_refused_by_every_task(store, task):
    data, asked = EvaluationClips(store, resolution=24), make_task(task)
    model = NotFinite()
    assert asked.lacks(model, data) is None
    with pytest.raises(EvaluationDataError, match=r"finite.*squares/square/|finite.*square/"):
        asked.score(asked.measure(model, data, range(asked.size(data))))


def test_a_gallery_of_one_text_is_refused():
    record = {
        "item": 0, "clip": "a/0", "video": "v", "caption": "the same",
        "video_embedding": np.ones(2), "text_embedding": np.ones(2),
    }  # fmt: skip
    with pytest.raises(ValueError, match="at least two different captions"):
        Retrieval().score([record, {**record, "item": 1}])
