"""A teacher's tokens: computed once, kept beside the clips, learned from."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import ConfigurationError, ForeignStoreError, WeightsError
from pretrain.clips import ClipStore
from pretrain.clips.augmentation import Crop, crop_tokens
from pretrain.clips.dataset import ClipDataset, Draw, SampleSpec
from pretrain.clips.teacher_tokens import TeacherTokens, make_tokens, tokens_folder
from pretrain.learning.pretraining import pretrain
from pretrain.learning.teacher import Teacher, make_teacher_tokens, open_teacher_tokens
from pretrain.run import PretrainConfig, main

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_store
from imagenet_weights import needs_weights
from tiny_model import TINY_OVERRIDES

GRID = (2, 2)


def save_teacher(folder: Path, seed: int = 0, kind: str = "dinov2") -> Path:
    """A tiny random model as transformers saves it: 4 x 4 patches of 14 pixels."""
    torch.manual_seed(seed)
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "image_size": 56,
        "patch_size": 14,
    }
    model = {
        "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**sizes)),
        "beit": lambda: transformers.BeitModel(transformers.BeitConfig(**sizes)),
    }[kind]()
    model.save_pretrained(folder)
    processor = {
        "do_resize": True,
        "size": {"shortest_edge": 64},
        "do_center_crop": True,
        "crop_size": {"height": 56, "width": 56},
        "image_mean": [0.5] * 3,
        "image_std": [0.25] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_teacher(tmp_path_factory.mktemp("teacher"))


def counting(calls: list) -> object:
    def encode(frames):
        calls.append(len(frames))
        # Every cell shows the mean color of its own place, and one channel is constant.
        cells = frames.reshape(len(frames), 2, 16, 2, 16, 3).mean((2, 4))
        return np.concatenate([cells, np.ones_like(cells[..., :1])], -1).astype(np.float32)

    return encode


def test_a_teacher_sees_the_whole_frame_and_says_what_lies_where(saved):
    teacher = Teacher(str(saved), GRID)
    frames = np.zeros((2, 40, 60, 3), np.uint8)
    frames[1, :20, :30] = 255
    tokens = teacher(frames)
    assert tokens.shape == (2, 2, 2, 16)
    # What transformers gives for the squeezed frame, averaged.
    pixels = torch.nn.functional.interpolate(
        torch.from_numpy(frames).permute(0, 3, 1, 2).float(), (56, 56), mode="bilinear",
        antialias=True,
    )  # fmt: skip
    model = transformers.Dinov2Model.from_pretrained(saved).eval()
    with torch.inference_mode():
        hidden = model((pixels / 255 - 0.5) / 0.25).last_hidden_state[:, 1:]
    expected = hidden.reshape(2, 2, 2, 2, 2, 16).mean((2, 4)).numpy()
    np.testing.assert_allclose(tokens, expected, atol=2e-2)


def test_another_teacher_and_another_grid_are_told_apart(saved, tmp_path):
    known = Teacher(str(saved), GRID).fingerprint
    assert Teacher(str(saved), GRID).fingerprint == known
    assert Teacher(str(saved), (4, 4)).fingerprint != known
    assert Teacher(str(save_teacher(tmp_path, seed=1)), GRID).fingerprint != known


def test_a_model_without_a_token_for_each_patch_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"one of the kinds clip.*got .* of kind beit"):
        Teacher(str(save_teacher(tmp_path, kind="beit")), GRID)
    with pytest.raises(WeightsError):
        Teacher(str(tmp_path / "missing"), GRID)


def test_tokens_are_computed_once_and_go_on_where_they_were_stopped(tmp_path):
    make_store(tmp_path / "clips", range(70))
    store = ClipStore.open(tmp_path / "clips")
    folder = tokens_folder(store, "t1")
    assert folder.parent == tmp_path
    calls: list = []
    encode = counting(calls)

    def killed(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_tokens(folder, store, 70, "t1", "fake", encode, killed)
    assert len(calls) == 64
    make_tokens(folder, store, 70, "t1", "fake", encode)
    make_tokens(folder, store, 70, "t1", "fake", encode)
    assert len(calls) == 70
    tokens = TeacherTokens.open(folder, store, "t1")
    assert (len(tokens), tokens.channels) == (70, 4)
    # Standardized by the first clips; half precision is good for three digits.
    found = np.stack([tokens.read(clip) for clip in range(64)])
    np.testing.assert_allclose(found.mean((0, 1, 2, 3)), [0, 0, 0, 0], atol=1e-2)
    np.testing.assert_allclose(found.std((0, 1, 2, 3)), [1, 1, 1, 0], atol=1e-2)


def test_tokens_of_others_are_not_taken(tmp_path):
    make_store(tmp_path / "clips", range(3))
    store = ClipStore.open(tmp_path / "clips")
    folder = tokens_folder(store, "t1")
    make_tokens(folder, store, 3, "t1", "fake", counting([]))
    with pytest.raises(ForeignStoreError, match=r"teacher and grid t2 .* those of t1 \(fake\)"):
        TeacherTokens.open(folder, store, "t2")
    make_store(tmp_path / "others", range(5, 9))
    others = ClipStore.open(tmp_path / "others")
    with pytest.raises(ForeignStoreError, match="those of other clips"):
        make_tokens(folder, others, 4, "t1", "fake", counting([]))
    make_store(tmp_path / "clips2", range(1))
    with pytest.raises(ForeignStoreError, match="got another store"):
        TeacherTokens.open(tmp_path / "clips2" / "shard_0000", store, "t1")


def test_tokens_are_cut_where_the_frame_was_cut():
    rows, columns = np.meshgrid(np.arange(8.0), np.arange(8.0), indexing="ij")
    tokens = np.stack([rows, columns], -1)[None].astype(np.float32)
    whole = crop_tokens(tokens, Crop(0, 0, 64, 64, (64, 64)), (8, 8))
    torch.testing.assert_close(whole, torch.from_numpy(tokens).flatten(1, 2))
    part = crop_tokens(tokens, Crop(16, 32, 32, 16, (64, 64)), (2, 1))
    # Rows 2 to 6 and columns 4 to 6 of the map, in cells' centers.
    torch.testing.assert_close(part[0], torch.tensor([[2.5, 4.5], [4.5, 4.5]]))


def test_a_sample_has_the_tokens_of_its_own_frames(tmp_path):
    make_store(tmp_path / "clips", range(4))
    store = ClipStore.open(tmp_path / "clips")
    folder = tokens_folder(store, "t")
    make_tokens(folder, store, 4, "t", "fake", counting([]))
    tokens = TeacherTokens.open(folder, store, "t")
    spec = SampleSpec(32, teacher_grid=(2, 2))
    dataset = ClipDataset(store, spec, clips=np.array([2, 1]), teacher=tokens)
    batch = dataset.batch([Draw(0), Draw(1)])
    assert batch.teacher.shape == (2, 4, 4, 4)
    np.testing.assert_allclose(batch.teacher[0].numpy(), tokens.read(2).reshape(4, 4, 4), atol=1e-5)
    single = ClipDataset(store, spec, teacher=tokens)[Draw(3, place=5, single=True)]
    assert single.teacher.shape == (1, 4, 4)
    assert ClipDataset(store, SampleSpec(32)).batch([Draw(0)]).teacher is None


@needs_weights
def test_a_run_learns_from_a_teacher_and_is_bound_to_it(saved, tmp_path):
    make_store(tmp_path / "train", range(12))
    make_store(tmp_path / "held", range(12, 20))
    command = [
        *TINY_OVERRIDES,
        "data=store",
        f"data.path={tmp_path / 'train'}",
        f"data.validation={tmp_path / 'held'}",
        "model.vision.stem=efficientnet_lite0",
        "training.stem_rate=0.5",
        "training.ema=0.9",
        "objective.text=0",
        "objective.anchor=0.5",
        "objective.distill=1",
        "steps=2",
    ]
    main([*command, f"teacher={saved}", f"run_dir={tmp_path / 'run'}"])
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    losses = next(entry for entry in results["curves"] if "distill" in entry)
    assert losses["distill"] > 0
    assert losses["anchor"] > 0
    assert results["timings_s"]["teacher"] > 0
    store = ClipStore.open(tmp_path / "train")
    teacher = Teacher(str(saved), GRID)
    tokens = open_teacher_tokens(teacher, store)
    assert results["data"]["teacher"] == tokens.description
    make_teacher_tokens(teacher, store, 12)  # nothing is missing
    # With heads alone there is nothing to measure; what has learned longest is the best.
    heads = [*command, "objective.depth=0", f"teacher={saved}", "training.validate_every=1"]
    main([*heads, f"run_dir={tmp_path / 'heads'}"])
    results = json.loads((tmp_path / "heads" / "results.json").read_text())
    assert results["best_step"] == 2
    assert results["depth"] is results["retrieval"] is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["objective=distill"], r"teacher and objective\.distill above 0"),
        (["teacher=somewhere"], r"teacher and objective\.distill above 0"),
        (["objective.anchor=1"], r"training\.stem_rate above 0"),
        (["objective=depth", "objective.depth=0", "objective.crop=1"], r"stem_rate above 0"),
        (["objective.crop=1", "model.vision.stem=pixels"], r"vision\.stem=efficientnet_lite0"),
    ],
)
def test_heads_that_could_not_learn_are_refused_before_a_run_begins(settings, message):
    config = compose(PretrainConfig, "pretrain", settings)
    assert "pretrain" in str(config.folder)
    with pytest.raises(ConfigurationError, match=message):
        pretrain(config)
