"""A policy of another robot, from its recordings to the file that its computer runs."""

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import (
    CheckpointError,
    ConfigurationError,
    DatasetError,
    EncoderOptionError,
    OutputPathError,
    PolicyOptionError,
    UnknownNameError,
)
from egodtm_robot.core.graphs import Graph, GraphExportError, read_metadata, write_graph
from egodtm_robot.demos.convert.contract import make_format
from egodtm_robot.demos.store import DemonstrationStore
from egodtm_robot.deployment.policy_graph import policy_graph
from egodtm_robot.deployment.trained_policy import load_trained_policy
from egodtm_robot.encoders.features import FeaturePipeline
from egodtm_robot.encoders.state import NoEncoder
from egodtm_robot.evaluation.results import FinishedRun, ResultsError
from egodtm_robot.export import ExportPolicyConfig, export
from egodtm_robot.learning.cloning_run import TrainBCConfig, train_bc
from egodtm_robot.learning.default_run import default_run_dir
from egodtm_robot.learning.recorded_set import names_of
from policies.base import make_policy
from policies.mlp import MLPPolicy, MLPPolicyConfig
from policies.spec import FeatureShape, PolicySpec

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_conversions import read, written
from fake_foreign_stores import make_foreign_store

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "robot.md"


def train(store: Path, folder: Path, *overrides: str):
    settings = ["env=recorded", f"demos.path={store}", f"run_dir={folder}", "device=cpu"]
    settings += ["protocol.training.steps=40", "protocol.training.batch_size=8", *overrides]
    return train_bc(compose(TrainBCConfig, "train_bc", settings))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_foreign_store(tmp_path_factory.mktemp("demonstrations") / "arm").path


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = ("policy.history=2", "policy.action_chunk=3", "encoder=custom")
    options += ("encoder._target_=fake_encoders.FramePair",)
    train(store, folder, *options)
    return folder


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    path = run / "policy.onnx"
    export(ExportPolicyConfig(checkpoint=str(run), out=str(path)))
    return path


def test_a_run_without_an_environment_says_that_nothing_was_evaluated(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    final = results["final"]
    assert final["evaluation"] == "none"
    assert "no simulator" in final["reason"]
    assert final["train_loss"] > 0
    assert final["validation_loss"] > 0
    assert (run / "checkpoints" / "step_0000040" / "policy.safetensors").is_file()
    with pytest.raises(ResultsError, match="nothing was evaluated"):
        FinishedRun.load(run)


def test_the_policy_speaks_the_robots_units(run: Path, store: Path) -> None:
    actions = DemonstrationStore.open(store).steps(slice(None), ("actions",))["actions"]
    limits = load_trained_policy(run).policy.spec.action_range
    assert limits is not None
    np.testing.assert_array_equal(limits.low, actions.min(0))
    np.testing.assert_array_equal(limits.high, actions.max(0))
    assert np.abs(actions).max() > 10  # degrees


class Robot:
    """Plays an episode back, one frame a step."""

    def __init__(self, episode: dict[str, np.ndarray]) -> None:
        self.episode = episode
        self.moves: list[np.ndarray] = []

    def is_running(self) -> bool:
        return len(self.moves) < len(self.episode["actions"])

    def observe(self) -> dict[str, np.ndarray]:
        step = len(self.moves)
        cameras = {
            f"images/{name[4:]}": frames[step]
            for name, frames in self.episode.items()
            if name.startswith("rgb/")
        }
        return {"proprioception": self.episode["proprioception"][step], **cameras}

    def move(self, action: np.ndarray) -> None:
        self.moves.append(action)


def rolled_out(run: Path, episode: dict[str, np.ndarray]) -> np.ndarray:
    """What our own policy does in the episode, frame after frame."""
    trained = load_trained_policy(run)
    actions, state = [], None
    for step in range(len(episode["actions"])):
        observation = {"proprioception": episode["proprioception"][step]}
        for camera in trained.policy.spec.features:
            frames = episode[f"rgb/{camera}"]
            window = [max(step - back, 0) for back in range(trained.pipeline.history)][::-1]
            observation[f"features/{camera}"] = trained.pipeline.encode(frames[window][None])[0]
        action, state = trained.policy.predict(observation, state)
        actions.append(action)
    return np.stack(actions)


def drive(path: Path, episode: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Robot:
    """Run the loop of the guide as it stands there."""
    (code,) = re.findall(r"```python\n(import json.*?)```", GUIDE.read_text(), re.DOTALL)
    assert set(re.findall(r"^import (\w+)", code, re.MULTILINE)) == {"json", "numpy", "onnxruntime"}
    monkeypatch.chdir(path.parent)
    robot = Robot(episode)
    exec(code, {"robot": robot})
    return robot


def test_the_loop_of_the_guide_moves_a_robot_as_our_own_policy_does(
    run: Path, exported: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    episode = DemonstrationStore.open(store).episode(1)
    robot = drive(exported, episode, monkeypatch)
    expected = rolled_out(run, episode)
    np.testing.assert_allclose(np.stack(robot.moves), expected, atol=1e-2, rtol=1e-4)
    assert np.abs(expected).std(0).min() > 1  # degrees: it does not stand still


def test_the_file_says_what_it_takes_and_gives(exported: Path) -> None:
    about = read_metadata(exported)
    assert about["inputs"]["images/top"] == {"shape": ["batch", 3, 16, 20, 3], "dtype": "uint8"}
    assert about["inputs"]["images/wrist"]["shape"] == ["batch", 3, 12, 12, 3]
    assert about["inputs"]["proprioception"] == {"shape": ["batch", 2, 4], "dtype": "float32"}
    assert about["execute"] == about["action_chunk"] == 3
    assert about["robot"]["control_dt"] == pytest.approx(1 / 30)
    assert about["robot"]["actions"] is None  # this data set does not name them
    assert about["actions"]["units"] == "robot"
    assert about["encoder"]["fingerprint"]
    assert b"/egodtm_robot/" not in exported.read_bytes()


def test_a_taken_path_or_another_suffix_is_refused(run: Path, exported: Path) -> None:
    with pytest.raises(OutputPathError, match="exists"):
        export(ExportPolicyConfig(checkpoint=str(run), out=str(exported)))
    with pytest.raises(OutputPathError, match=r"end in \.pt2"):
        export(
            ExportPolicyConfig(
                checkpoint=str(run), out=str(run / "policy.onnx"), format="torch_export"
            )
        )


def test_an_exported_program_of_torch_gives_the_same(run: Path) -> None:
    path = run / "policy.pt2"
    parity = export(ExportPolicyConfig(checkpoint=str(run), out=str(path), format="torch_export"))
    assert parity.difference < 1e-6
    assert read_metadata(path)["action_chunk"] == 3


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (("env.cameras=[front]",), UnknownNameError, "camera of .*front.*top, wrist"),
        (("encoder=oracle",), DatasetError, "state of a simulator"),
        (("protocol=r3m",), ConfigurationError, "without rollouts"),
        (("+env.resolution=64",), ConfigurationError, r"no env\.resolution"),
        (("demos.episodes=9",), DatasetError, "Expected 9 demonstrations.*holds 4"),
        (("demos.path=null",), ConfigurationError, r"Expected demos\.path"),
    ],
)
def test_what_recordings_cannot_give_is_refused_before_anything_is_written(
    store: Path, tmp_path: Path, settings: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(store, tmp_path / "run", "encoder=pixels", *settings)
    assert not (tmp_path / "run").exists()


def test_the_default_folder_tells_stores_apart() -> None:
    folders = {
        default_run_dir(
            compose(TrainBCConfig, "train_bc", ["env=recorded", f"demos.path={store}"]), "egodtm"
        )
        for store in ("arm", "hand")
    }
    assert {str(folder) for folder in folders} == {
        f"runs/recorded/egodtm-demos.path_{store}/quick_seed0" for store in ("arm", "hand")
    }


def test_one_camera_of_several_is_enough(store: Path, tmp_path: Path) -> None:
    train(store, tmp_path / "run", "encoder=pixels", "policy=knn", "env.cameras=[wrist]")
    trained = load_trained_policy(tmp_path / "run")
    assert list(trained.policy.spec.features) == ["wrist"]
    assert trained.robot["cameras"] == {"wrist": [12, 12]}


@pytest.mark.parametrize(
    ("encoder", "error", "message"),
    [
        ("fake_encoders.Stubborn", GraphExportError, "encoder Stubborn .* torch operations"),
        ("fake_encoders.Scattered", EncoderOptionError, "Derive it from ImageEncoder"),
        ("egodtm_robot.encoders.state.OracleEncoder", EncoderOptionError, "reads none"),
    ],
)
def test_an_encoder_that_cannot_be_written_is_refused_with_the_reason(
    tmp_path: Path, encoder: str, error: type[Exception], message: str
) -> None:
    out = tmp_path / "encoder.pt2"
    config = ExportPolicyConfig(
        encoder={"_target_": encoder}, image_size=[16, 16], out=str(out), format="torch_export"
    )
    with pytest.raises(error, match=message):
        export(config)
    assert not out.exists()


class Sampler(MLPPolicy):
    """Adds to its plan what it draws."""

    kind = "sampler"
    samples = True

    def plan(self, observation, generator=None):
        drawn = generator.normal(self.chunk, self.spec.actions)
        return super().plan(observation) + 0.1 * drawn + 0.1 * generator.normal(1, 1)


class Dice(Sampler):
    """Draws what cannot be an input."""

    kind = "dice"

    def plan(self, observation, generator=None):
        return generator.uniform(self.chunk, self.spec.actions)


class Fixed(MLPPolicy):
    """Makes the number of rows a constant, as Python's len does."""

    kind = "fixed"

    def plan(self, observation, generator=None):
        actions = super().plan(observation)
        return actions + actions.new_zeros(len(actions), 1, 1)


def blind(policy_class: type[MLPPolicy], chunk: int) -> Graph:
    """A policy that sees nothing but the robot's own state."""
    config = MLPPolicyConfig(action_chunk=chunk, hidden=[8])
    spec = PolicySpec(4, 2, {"state": FeatureShape(1, 0)})
    policy = make_policy(policy_class, config, spec, torch.Generator().manual_seed(0)).eval()
    return policy_graph(policy, FeaturePipeline(NoEncoder()), {"cameras": {}}, {})


def test_what_a_policy_draws_is_an_input(tmp_path: Path) -> None:
    graph = blind(Sampler, chunk=3)
    inputs = graph.sample(2, 0)
    assert list(inputs) == ["proprioception", "noise"]
    assert inputs["noise"].shape == (2, 7)
    path = tmp_path / "sampler.pt2"
    write_graph(graph, path, "torch_export")
    module = torch.export.load(path).module()
    state, noise = (torch.from_numpy(array) for array in inputs.values())
    once, other = module(state, noise), module(state, -noise)
    assert not torch.allclose(once, other)
    np.testing.assert_allclose(once.numpy(), graph.reference(inputs), atol=1e-5)
    with pytest.raises(PolicyOptionError, match="normal numbers alone"):
        blind(Dice, chunk=1)


def test_a_policy_that_fixes_the_number_of_rows_is_written_for_one(tmp_path: Path) -> None:
    graph = blind(Fixed, chunk=1)
    path = tmp_path / "fixed.pt2"
    write_graph(graph, path, "torch_export")
    assert read_metadata(path)["inputs"]["proprioception"]["shape"] == [1, 1, 4]


def test_a_file_that_differs_from_the_original_is_not_written(tmp_path: Path) -> None:
    graph = blind(MLPPolicy, chunk=1)
    other = dataclasses.replace(graph, reference=lambda inputs: graph.reference(inputs) + 2e-4)
    with pytest.raises(GraphExportError, match="2.0e-04 at most over"):
        write_graph(other, tmp_path / "other.pt2", "torch_export")
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds neither"):
        export(ExportPolicyConfig(checkpoint=str(tmp_path), out=str(tmp_path / "policy.onnx")))


@pytest.mark.parametrize("names", [["x", "y", "grip"], {"motors": ["x", "y", "grip"]}])
def test_names_of_actions_are_those_of_the_data_set(tmp_path: Path, names: Any) -> None:
    format = make_format({"name": "lerobot", "images": "image", "fps": 10.0})
    data = written(format, make_foreign_store(tmp_path / "arm", 1), tmp_path / "data")
    (data / "meta/egodtm_robot.json").unlink()
    info = json.loads((data / "meta/info.json").read_text())
    info["features"]["action"]["names"] = names
    (data / "meta/info.json").write_text(json.dumps(info))
    origin = read(format, data, tmp_path / "store").attributes.origin
    assert origin is not None
    assert names_of(origin, "actions", 3) == ["x", "y", "grip"]
    assert names_of(origin, "actions", 2) is None
    assert names_of(origin, "proprioception", 4) is None
    assert names_of(dataclasses.replace(origin, metadata={}), "actions", 3) is None
