"""Features of demonstrations: windows, cache, resumption, and live equal to cached."""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import VideoMAEConfig, VideoMAEModel

from egodtm_robot.core.errors import (
    CheckpointMismatchError,
    DatasetError,
    EncoderInputError,
    StoreNotFoundError,
    UnknownNameError,
    WeightsError,
)
from egodtm_robot.core.published_models.preprocessing import Preprocessing
from egodtm_robot.core.storage import CommittedGroup
from egodtm_robot.demos.attributes import DemonstrationAttributes
from egodtm_robot.demos.episode import Episode
from egodtm_robot.demos.store import DemonstrationStore
from egodtm_robot.encoders import Encoder, ImageEncoder, features, make_encoder
from egodtm_robot.encoders.features import (
    FeaturePipeline,
    demonstration_features,
    embed_demonstrations,
)
from egodtm_robot.encoders.huggingface import TransformersEncoder
from egodtm_robot.encoders.reducer import Reducer
from pretrain.checkpoints import save_checkpoint
from pretrain.model import EgoDTM, EgoDTMConfig, TextConfig, VisionConfig

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
import published_files as files

SIZE = 32
LENGTHS = (7, 3, 12)


def episode(length: int, seed: int, cameras: tuple[str, ...] = ("left",)) -> Episode:
    generator = np.random.default_rng(seed)
    return Episode(
        rgb={
            camera: generator.integers(0, 256, (length, SIZE, SIZE, 3), dtype=np.uint8)
            for camera in cameras
        },
        proprioception=generator.normal(size=(length, 9)).astype(np.float32),
        privileged=generator.normal(size=(length, 15)).astype(np.float32),
        actions=generator.uniform(-1, 1, (length, 9)).astype(np.float32),
        simulator_state=generator.normal(size=(length, 20)),
        reset={"offset": generator.normal(size=3)},
        seed=seed,
    )


@pytest.fixture
def store(tmp_path: Path) -> DemonstrationStore:
    attributes = DemonstrationAttributes(
        environment="EgoDTMKitchen/Microwave-v0",
        task="microwave",
        randomization="default",
        visual="fixed",
        model_hash="0" * 16,
        mujoco_version="0",
        expert_version="0",
        noise=0.1,
        seed=0,
        cameras=("left", "right"),
        resolution=(SIZE, SIZE),
    )
    made = DemonstrationStore.create(tmp_path / "demos", attributes)
    for seed, length in enumerate(LENGTHS):
        made.append_episode(episode(length, seed, attributes.cameras))
    return made


class CountingEncoder(ImageEncoder):
    """Mean color of each frame of the window, times a weight; counts what it is asked for."""

    def __init__(self, history: int = 1, weight: float = 1.0, fail_after: int | None = None):
        network = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(network.weight, weight)
        torch.nn.init.zeros_(network.bias)
        super().__init__(network=network, dimension=3 * history, history=history)
        self.encoded = 0
        self.fail_after = fail_after

    def encode(self, images: np.ndarray) -> np.ndarray:
        if self.fail_after is not None and self.encoded >= self.fail_after:
            raise KeyboardInterrupt
        self.encoded += len(images)
        return super().encode(images)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        colors = images.float().mean(dim=(2, 3)).flatten(1)[:, None]
        return colors * self.network.weight


def tiny_videomae() -> TransformersEncoder:
    config = VideoMAEConfig(
        image_size=SIZE,
        patch_size=8,
        num_frames=4,
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VideoMAEModel(config)
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing((SIZE, SIZE), None, "bilinear", 1 / 255, half, half)
    return TransformersEncoder(model, preprocessing, batch_size=3)


def test_a_second_run_embeds_nothing(store: DemonstrationStore):
    encoder = CountingEncoder()
    first = embed_demonstrations(store, encoder, ("left", "right"), progress=False)
    assert encoder.encoded == 2 * sum(LENGTHS)
    reopened = DemonstrationStore.open(store.path)
    again = embed_demonstrations(reopened, encoder, ("left", "right"), progress=False)
    assert encoder.encoded == 2 * sum(LENGTHS)
    for camera in ("left", "right"):
        np.testing.assert_array_equal(first[camera], again[camera])
    expected = store.steps(slice(0, None), ("rgb/left",))["rgb/left"].mean(axis=(1, 2))
    np.testing.assert_allclose(first["left"][:, 0], expected, atol=1e-3)


def test_other_weights_are_embedded_anew(store: DemonstrationStore):
    embed_demonstrations(store, CountingEncoder(), ("left",), progress=False)
    other = CountingEncoder(weight=2.0)
    embed_demonstrations(store, other, ("left",), progress=False)
    assert other.encoded == sum(LENGTHS)


def test_an_interrupted_run_goes_on_where_it_was(
    store: DemonstrationStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(features, "_ROWS_A_COMMIT", 5)
    interrupted = CountingEncoder(fail_after=10)
    with pytest.raises(KeyboardInterrupt):
        embed_demonstrations(store, interrupted, ("left",), progress=False)
    assert store.read_features(interrupted.fingerprint, "left") is None
    rest = CountingEncoder()
    resumed = embed_demonstrations(store, rest, ("left",), progress=False)["left"]
    assert rest.encoded == sum(LENGTHS) - 10
    whole = CountingEncoder().encode(
        store.steps(slice(0, None), ("rgb/left",))["rgb/left"][:, None]
    )
    np.testing.assert_array_equal(resumed, whole)


def embed_until_killed(path: Path) -> None:
    """Main function of a process that is to be killed: two commits of five steps, then a wait."""
    features._ROWS_A_COMMIT = 5
    forward = CountingEncoder.encode

    def waiting(self: CountingEncoder, images: np.ndarray) -> np.ndarray:
        if self.encoded >= 10:
            time.sleep(120)
        return forward(self, images)

    CountingEncoder.encode = waiting  # type: ignore[method-assign]
    embed_demonstrations(DemonstrationStore.open(path), CountingEncoder(), ("left",))


def test_a_killed_run_is_gone_on_from_to_the_same_features(store: DemonstrationStore):
    process = multiprocessing.get_context("fork").Process(
        target=embed_until_killed, args=(store.path,)
    )
    process.start()
    name = f"features/{CountingEncoder().fingerprint}/left"
    deadline = time.monotonic() + 60
    rows = 0
    while rows < 10 and time.monotonic() < deadline:
        time.sleep(0.005)
        with contextlib.suppress(StoreNotFoundError, KeyError):
            rows = CommittedGroup.open(store.path, name).arrays[name].rows
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert rows == 10

    rest = CountingEncoder()
    assert store.read_features(rest.fingerprint, "left") is None
    resumed = embed_demonstrations(store, rest, ("left",), progress=False)["left"]
    assert rest.encoded == sum(LENGTHS) - rows
    frames = store.steps(slice(0, None), ("rgb/left",))["rgb/left"]
    np.testing.assert_array_equal(resumed, CountingEncoder().encode(frames[:, None]))
    assert store.verify() == []


def test_a_store_that_has_grown_is_embedded_from_its_old_end(store: DemonstrationStore):
    encoder = CountingEncoder(history=4)
    embed_demonstrations(store, encoder, ("left",), progress=False)
    store.append_episode(episode(6, 77, ("left", "right")))
    grown = embed_demonstrations(store, encoder, ("left",), progress=False)["left"]
    assert encoder.encoded == sum(LENGTHS) + 6
    assert len(grown) == sum(LENGTHS) + 6


def live_features(
    store: DemonstrationStore, pipeline: FeaturePipeline, camera: str, batch: int
) -> np.ndarray:
    """As a rollout computes them: step by step, each episode with a window of its own."""
    rows = []
    for index in range(store.num_episodes):
        frames = store.episode(index, (f"rgb/{camera}",))[f"rgb/{camera}"]
        window = [frames[0]] * pipeline.history
        windows = []
        for frame in frames:
            window = [*window[1:], frame]
            windows.append(np.stack(window))
        for start in range(0, len(windows), batch):
            rows.append(pipeline.encode(np.stack(windows[start : start + batch])))
    return np.concatenate(rows)


def tiny_egodtm(folder: Path) -> Encoder:
    vision = VisionConfig(
        image_size=SIZE, patch_size=8, width=96, layers=2, heads=2, feed_forward=64
    )
    text = TextConfig(width=32, token_width=4, layers=1, heads=2, feed_forward=32)
    save_checkpoint(folder / "a.safetensors", EgoDTM(EgoDTMConfig(vision=vision, text=text)), {})
    checkpoint = str(folder / "a.safetensors")
    return make_encoder({"name": "egodtm", "checkpoint": checkpoint, "history": 4, "batch_size": 3})


def tiny_published(folder: Path, family: str) -> Encoder:
    """As authors publish them, with 16 tokens; Voltron as V-Dual, which sees two frames."""
    shapes = {
        "r3m": lambda: files.prefixed("convnet.", files.resnet((1, 1, 1, 1), False, 16)),
        "vc1": lambda: files.vit(128, 1, grid=4),
        "voltron": lambda: files.voltron(128, 1, 2, grid=4, language=(128, 1, 32)),
    }[family]()
    torch.save({"state_dict": files.random(shapes)}, folder / "published.pth")
    config = {"name": family, "checkpoint": str(folder / "published.pth"), "batch_size": 3}
    return make_encoder({**config, "grid": None, "resolution": 128 if family == "r3m" else None})


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("kind", ["images", "video", "egodtm", "r3m", "vc1", "voltron"])
def test_live_features_equal_cached_ones(
    store: DemonstrationStore, tmp_path: Path, kind: str, batch: int
):
    encoder: Encoder
    if kind == "images":
        encoder = make_encoder({"name": "efficientnet_lite0_random", "grid": 4, "batch_size": 3})
    elif kind in ("video", "egodtm"):
        encoder = tiny_videomae() if kind == "video" else tiny_egodtm(tmp_path)
    else:
        encoder = tiny_published(tmp_path, kind)
    assert encoder.history == {"video": 4, "egodtm": 4, "voltron": 2}.get(kind, 1)
    pipeline, cached = demonstration_features(store, encoder, ("left", "right"), progress=False)
    assert pipeline.reducer is not None, "this test is to cover the reducer too"
    for camera in ("left", "right"):
        live = live_features(store, pipeline, camera, batch)
        assert live.shape == (sum(LENGTHS), 16, pipeline.dimension)
        np.testing.assert_allclose(live, cached[camera], atol=1e-5, rtol=1e-5)
        assert live.std() > 0.1


def test_only_wide_grids_are_reduced(store: DemonstrationStore):
    pixels, small = demonstration_features(store, make_encoder("pixels"), ("left",), progress=False)
    assert pixels.reducer is None
    assert small["left"].shape == (sum(LENGTHS), 1, 256)
    wide, tokens = demonstration_features(store, tiny_videomae(), ("left",), progress=False)
    assert wide.dimension == 64
    assert wide.grid == (4, 4)
    assert tokens["left"].shape == (sum(LENGTHS), 16, 64)


def test_state_encoders_read_the_stored_state(store: DemonstrationStore):
    oracle = make_encoder("oracle")
    oracle.expect_states(store.steps([0], ("privileged",))["privileged"].shape[1])
    pipeline, found = demonstration_features(store, oracle, (), progress=False)
    assert pipeline.streams(("left",)) == ("state",)
    stored = store.steps(slice(0, None), ("privileged",))["privileged"]
    np.testing.assert_array_equal(found["state"][:, 0], stored)
    _, nothing = demonstration_features(store, make_encoder("none"), (), progress=False)
    assert nothing["state"].shape == (sum(LENGTHS), 1, 0)


def test_the_reducer_is_fitted_on_the_chosen_episodes_only(store: DemonstrationStore):
    two, tokens = demonstration_features(
        store, tiny_videomae(), ("left",), episodes=2, progress=False
    )
    everything, _ = demonstration_features(store, tiny_videomae(), ("left",), progress=False)
    assert len(tokens["left"]) == 10
    assert two.fingerprint != everything.fingerprint
    store.append_episode(episode(4, 9, ("left", "right")))
    after, _ = demonstration_features(store, tiny_videomae(), ("left",), episodes=2, progress=False)
    assert after.fingerprint == two.fingerprint


def test_the_reducer_finds_what_changes_at_a_place_and_not_what_differs_between_places():
    generator = np.random.default_rng(0)
    background = 100 * generator.normal(size=(1, 16, 8))  # differs between places, never changes
    signal = generator.normal(size=(500, 16, 1))
    direction = np.eye(8)[2]
    tokens = (background + signal * direction).astype(np.float32)
    tokens += 0.01 * generator.normal(size=tokens.shape).astype(np.float32)
    reducer = Reducer.fit([tokens], channels=1)
    reduced = reducer.transform(tokens)[:, 3, 0]
    assert abs(np.corrcoef(reduced, signal[:, 3, 0])[0, 1]) > 0.99
    assert reduced.std() == pytest.approx(1.0, rel=0.2)


def test_a_saved_pipeline_is_the_same_one(store: DemonstrationStore, tmp_path: Path):
    pipeline, cached = demonstration_features(store, tiny_videomae(), ("left",), progress=False)
    path = tmp_path / "features.safetensors"
    pipeline.save(path)
    loaded = FeaturePipeline.load(path, tiny_videomae())
    assert loaded.fingerprint == pipeline.fingerprint
    np.testing.assert_array_equal(
        loaded.reduce(embed_demonstrations(store, tiny_videomae(), ("left",))["left"]),
        cached["left"],
    )
    with pytest.raises(CheckpointMismatchError, match="its weights, options or code differ"):
        FeaturePipeline.load(path, make_encoder("pixels"))
    bare = FeaturePipeline(make_encoder("pixels"))
    bare.save(path)
    assert FeaturePipeline.load(path, make_encoder("pixels")).fingerprint == bare.fingerprint


def test_damaged_pipeline_files_are_named(tmp_path: Path):
    path = tmp_path / "features.safetensors"
    with pytest.raises(WeightsError, match=r"features\.safetensors"):
        FeaturePipeline.load(path, make_encoder("none"))
    path.write_bytes(b"not a safetensors file")
    with pytest.raises(WeightsError, match="could not read one"):
        FeaturePipeline.load(path, make_encoder("none"))


def test_tokens_of_another_encoder_are_refused_by_the_reducer():
    reducer = Reducer.fit([np.random.default_rng(0).normal(size=(5, 4, 8)).astype(np.float32)], 2)
    with pytest.raises(EncoderInputError, match="another encoder's tokens"):
        reducer.transform(np.zeros((1, 4, 9), dtype=np.float32))


def test_missing_cameras_and_demonstrations_are_named(store: DemonstrationStore, tmp_path: Path):
    encoder = CountingEncoder()
    with pytest.raises(UnknownNameError, match="rgb/left, rgb/right"):
        embed_demonstrations(store, encoder, ("wrist",), progress=False)
    with pytest.raises(DatasetError, match="at least one camera"):
        embed_demonstrations(store, encoder, (), progress=False)
    empty = DemonstrationStore.create(tmp_path / "empty", store.attributes)
    with pytest.raises(DatasetError, match="holds none"):
        embed_demonstrations(empty, encoder, ("left",), progress=False)


def test_size_and_progress_are_shown(store: DemonstrationStore, capsys: pytest.CaptureFixture[str]):
    embed_demonstrations(store, CountingEncoder(), ("left",))
    shown = capsys.readouterr().err
    assert "22 steps of rgb/left" in shown
    assert "of disk" in shown
    assert "22/22" in shown
