"""The main job on the real kitchen, as small as it gets."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import egodtm_robot.rollout
from egodtm_robot.comparison.run_folders import run_provenance
from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import (
    ConfigurationError,
    ForeignStoreError,
    ResumeMismatchError,
    UnknownNameError,
)
from egodtm_robot.demos.collection import collect_demonstrations
from egodtm_robot.demos.drawing import add_images
from egodtm_robot.demos.store import DemonstrationStore
from egodtm_robot.evaluation.episode_log import EpisodeLog
from egodtm_robot.evaluation.results import FinishedRun, ResultsError, RunResults, describe
from egodtm_robot.evaluation.rollouts import EpisodeResult, EvaluationResult
from egodtm_robot.learning.cloning_run import TrainBCConfig, train_bc
from egodtm_robot.learning.run_checkpoint import find_checkpoint
from egodtm_robot.rollout import RolloutConfig, rollout
from envs.registry import read_environment
from policies.base import Policy
from policies.checkpoints import DESCRIPTION

SMALL = [
    "env=franka_kitchen_light",
    "env.cameras=[left]",
    "env.resolution=32",
    "env.horizon=60",
    "demos.episodes=3",
    "protocol.training.steps=60",
    "protocol.training.save_every=20",
    "protocol.training.validate_every=20",
    "protocol.final_episodes=3",
    "workers=0",
    "environments=2",
    "device=cpu",
    "videos=0",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demonstrations") / "light"
    config = configure(store=path, run_dir=path.parent)
    collect_demonstrations(read_environment(config.env), path, episodes=3, noise=0.05, workers=0)
    return path


def configure(store: Path, run_dir: Path, *overrides: str) -> TrainBCConfig:
    return compose(TrainBCConfig, "train_bc", arguments(store, run_dir, *overrides))


def arguments(store: Path, run_dir: Path, *overrides: str) -> list[str]:
    return [*SMALL, f"demos.path={store}", f"run_dir={run_dir}", "demos.noise=0.05", *overrides]


@dataclass(frozen=True)
class Run:
    config: TrainBCConfig
    results: RunResults
    folder: Path


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run that many tests look at: each would take seconds of its own."""
    config = configure(store, tmp_path_factory.mktemp("run"), "encoder=pixels", "videos=1")
    return Run(config, *train_bc(config))


def test_further_looks_meet_the_same_policy_on_the_same_episodes(
    store: Path, run: Run, tmp_path: Path
) -> None:
    looks = ("encoder=pixels", "protocol.further_looks=[shifted]")
    results, folder = train_bc(configure(store, tmp_path / "run", *looks))
    finished = FinishedRun.load(folder)
    assert finished.outcomes is not None
    fixed, shifted = (
        [row for row in finished.outcomes if row.look == look] for look in ("fixed", "shifted")
    )
    # The look of the training comes out as it does alone.
    alone = FinishedRun.load(run.folder).outcomes
    assert alone is not None
    assert [replace(row, film=None) for row in alone] == fixed
    assert [row.episode_seed for row in shifted] == [row.episode_seed for row in fixed]
    assert [row.progress for row in shifted] != [row.progress for row in fixed]
    totals = results.final["further_looks"]["shifted"]
    assert totals["episodes"] == 3
    assert totals["successes"] == sum(row.success for row in shifted)
    assert "look shifted: " in describe(results, folder)
    hashes = results.environment["preset_hashes"]
    assert set(hashes["visual"]) == {"fixed", "shifted"}
    assert run.results.environment["preset_hashes"]["visual"].items() < hashes["visual"].items()
    assert results.protocol_hash != run.results.protocol_hash


def test_totals_of_a_further_look_that_are_not_its_rows_are_refused(
    store: Path, tmp_path: Path
) -> None:
    looks = ("encoder=none", "protocol.further_looks=[varied]", "protocol.final_episodes=1")
    _, folder = train_bc(configure(store, tmp_path / "run", *looks))
    content = json.loads((folder / "results.json").read_text())
    content["final"]["further_looks"]["varied"]["episodes"] = 2
    (folder / "results.json").write_text(json.dumps(content))
    with pytest.raises(ResultsError, match="under the look varied"):
        FinishedRun.load(folder)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["protocol.further_looks=[fixed]"], ConfigurationError, "to differ from the look 'fixed'"),
        (["protocol.further_looks=[dark]"], UnknownNameError, "dark"),
        (["protocol.further_looks=[varied,varied]"], ConfigurationError, "once"),
    ],
)
def test_further_looks_that_make_no_sense_are_refused(
    overrides: list[str], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        configure(tmp_path / "store", tmp_path / "run", *overrides)
    assert not list(tmp_path.iterdir())


def weights(run_dir: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(run_dir / "checkpoints/step_0000060/policy.safetensors")


def outcome(results: RunResults) -> dict:
    return {
        "final": results.final,
        "encoder": results.encoder,
        "demos": results.demos["fingerprint"],
    }


def test_a_run_leaves_results_checkpoints_and_films(run: Run) -> None:
    results = run.results
    assert results.final["episodes"] == 3
    low, high = results.final["wilson95"]
    assert low <= results.final["success_rate"] <= high
    assert results.env == "franka_kitchen_light"
    assert results.encoder["name"] == "pixels"
    assert set(results.timings_s) == {"collect", "embed", "train", "evaluate"}
    assert json.loads((run.folder / "results.json").read_text())["demos"]["episodes"] == 3
    outcomes = FinishedRun.load(run.folder).outcomes
    assert [row.run_seed for row in outcomes] == [run.config.seed] * 3
    assert sum(row.success for row in outcomes) == results.final["successes"]
    assert [row.film for row in outcomes] == [0, None, None]
    assert len(results.videos) == 3
    for name in (*results.videos, "config.yaml", "checkpoints/step_0000060/policy.safetensors"):
        assert (run.folder / name).stat().st_size > 100, name


def test_a_run_of_before_results_had_the_protocol_hash_is_given_the_same(run: Run) -> None:
    now = FinishedRun.load(run.folder)
    before = replace(now, results=replace(now.results, protocol_hash=""))
    assert run_provenance(before) == run_provenance(now)
    assert run_provenance(now).settings == run.results.protocol_hash != ""


@pytest.mark.parametrize("encoder", ["oracle", "none"])
def test_encoders_of_states_run_without_images(store: Path, tmp_path: Path, encoder: str) -> None:
    results, _ = train_bc(configure(store, tmp_path, f"encoder={encoder}"))
    assert results.final["episodes"] == 3
    assert results.encoder["name"] == encoder
    assert results.videos == []


def test_the_same_seed_gives_the_same_weights_and_outcomes(
    store: Path, tmp_path: Path, run: Run
) -> None:
    again, again_dir = train_bc(configure(store, tmp_path, "encoder=pixels", "workers=2"))
    assert outcome(again) == outcome(run.results)
    one, two = weights(run.folder), weights(again_dir)
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_a_finished_run_is_not_run_again(run: Run) -> None:
    began = time.perf_counter()
    assert train_bc(run.config)[0] == run.results
    assert time.perf_counter() - began < 5


def test_a_run_folder_with_other_settings_is_refused(run: Run) -> None:
    with pytest.raises(ResumeMismatchError, match="seed: 0 -> 1"):
        train_bc(replace(run.config, seed=1))


def test_a_run_killed_in_training_ends_with_the_same_weights(store: Path, tmp_path: Path) -> None:
    # Long enough to be hit in the middle, with a state to go on from every tenth of it.
    long = [
        "encoder=none",
        "protocol.training.steps=1000",
        "protocol.training.save_every=100",
        "protocol.training.validate_every=100",
        "protocol.final_episodes=2",
    ]
    straight, straight_dir = train_bc(configure(store, tmp_path / "straight", *long))
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "egodtm_robot.train_bc", *arguments(store, killed, *long)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    states = killed / "checkpoints/resume"
    deadline = time.monotonic() + 120
    while not list(states.glob("state_*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    file = "checkpoints/step_0001000/policy.safetensors"
    assert list(states.glob("state_*"))
    assert not (killed / file).exists()
    resumed, _ = train_bc(configure(store, killed, *long))
    assert resumed.final == straight.final
    assert (straight_dir / file).read_bytes() == (killed / file).read_bytes()


def test_a_run_killed_in_its_evaluation_keeps_the_episodes_that_are_finished(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["encoder=none", "protocol.final_episodes=4", "workers=0", "environments=2"]
    straight, straight_dir = train_bc(configure(store, tmp_path / "straight", *settings))
    add = EpisodeLog.add
    added: list[int] = []

    def add_two(log: EpisodeLog, result: EpisodeResult) -> None:
        if len(added) == 2:
            raise KeyboardInterrupt
        added.append(result.seed)
        add(log, result)

    monkeypatch.setattr(EpisodeLog, "add", add_two)
    config = configure(store, tmp_path / "killed", *settings)
    with pytest.raises(KeyboardInterrupt):
        train_bc(config)
    monkeypatch.setattr(EpisodeLog, "add", lambda log, result: added.append(result.seed))
    resumed, resumed_dir = train_bc(config)
    assert len(added) == len(set(added)) == 4, "an episode was run twice"
    assert resumed.final == straight.final
    one, other = (folder / "outcomes.csv" for folder in (straight_dir, resumed_dir))
    assert one.read_bytes() == other.read_bytes()
    assert not (resumed_dir / "episodes.jsonl").exists()


def test_a_store_of_another_look_is_refused_unless_asked_for(store: Path, tmp_path: Path) -> None:
    other = ["encoder=none", "env.visual=varied", "protocol.final_episodes=2"]
    with pytest.raises(ForeignStoreError, match="varied"):
        train_bc(configure(store, tmp_path / "a", *other))
    config = configure(store, tmp_path / "b", *other, "demos.allow_foreign=true")
    results, _ = train_bc(config)
    assert results.environment["visual"] == "varied"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("env=franka_kitchen_knob", "task 'knob', horizon 60|task 'knob', but"),
        ("env.horizon=61", "horizon 61, but"),
    ],
)
def test_a_store_of_another_task_or_horizon_is_refused(
    store: Path, tmp_path: Path, other: str, message: str
) -> None:
    with pytest.raises(ForeignStoreError, match=message):
        train_bc(configure(store, tmp_path, other, "encoder=none"))


def test_what_is_drawn_again_equals_what_was_collected(store: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "right"
    config = configure(store, tmp_path, "env.cameras=[right]")
    collect_demonstrations(read_environment(config.env), fresh, episodes=1, noise=0.05, workers=0)
    add_images(store, read_environment(config.env), workers=0)
    collected = DemonstrationStore.open(fresh).episode(0, ("rgb/right",))["rgb/right"]
    drawn = DemonstrationStore.open(store).episode(0, ("rgb/right",))["rgb/right"]
    assert np.array_equal(collected, drawn)


def test_a_missing_camera_is_drawn_from_the_stored_states(store: Path, tmp_path: Path) -> None:
    cameras = ["encoder=pixels", "env.cameras=[left,wrist]", "protocol.final_episodes=2"]
    results, _ = train_bc(configure(store, tmp_path, *cameras))
    assert "rgb/wrist" in DemonstrationStore.open(store).array_names
    assert results.environment["cameras"] == ["left", "wrist"]


SIDE = "{name: side, position: [1.5, 0.3, 2.2], look_at: [0, 0.4, 1.8]}"


@pytest.mark.parametrize(
    ("moved", "message"),
    [
        (SIDE.replace("0.3", "0.4"), r"position \[1.5, 0.4, 2.2\]"),
        (SIDE.replace("}", ", fovy: 60}"), "fovy 60"),
        (SIDE.replace("}", ", body: panda0_link7}"), "body panda0_link7"),
        (SIDE.replace("1.8]", "1.9]"), "quaternion"),
    ],
)
def test_a_camera_of_the_same_name_that_stands_elsewhere_is_refused(
    store: Path, tmp_path: Path, moved: str, message: str
) -> None:
    config = configure(store, tmp_path / "first", f"env.cameras=[{SIDE}]")
    add_images(store, read_environment(config.env), workers=0)
    assert add_images(store, read_environment(config.env), workers=0) == []
    other = configure(store, tmp_path / "second", f"env.cameras=[{moved}]", "encoder=pixels")
    with pytest.raises(ForeignStoreError, match=message):
        add_images(store, read_environment(other.env), workers=0)
    with pytest.raises(ForeignStoreError, match="another name"):
        train_bc(other)
    # At another resolution it would be another array, but of the same name.
    with pytest.raises(ForeignStoreError, match=message):
        add_images(
            store, replace(read_environment(other.env), resolution=16), ("depth",), workers=0
        )


def test_rollouts_of_the_checkpoint_repeat_the_final_evaluation(run: Run, tmp_path: Path) -> None:
    settings = RolloutConfig(
        checkpoint=str(run.folder),
        episodes=3,
        video=str(tmp_path / "films"),
        videos=2,
        workers=0,
        device="cpu",
    )
    summary = rollout(settings)
    assert summary["successes"] == run.results.final["successes"]
    assert [Path(video).suffix for video in summary["videos"]] == [".mp4", ".gif", ".png"]
    again = rollout(replace(settings, video=None))
    assert again["episode_results"] == summary["episode_results"]


def test_the_policy_runs_on_the_chosen_device(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []

    def evaluate(policy: Policy, *_: object, **__: object) -> EvaluationResult:
        devices.append(policy.device.type)
        return EvaluationResult((EpisodeResult(0, True, 1, 1, 1, None),), {})

    monkeypatch.setattr(egodtm_robot.rollout, "evaluate", evaluate)
    for device in ("cpu", "meta"):
        rollout(RolloutConfig(str(run.folder), episodes=1, workers=0, device=device))
    assert devices == ["cpu", "meta"]


def test_a_policy_names_its_encoder_by_kind_and_one_by_import_path_is_still_rolled_out(
    run: Run, tmp_path: Path
) -> None:
    copy = shutil.copytree(run.folder, tmp_path / "copy")
    settings = RolloutConfig(checkpoint=str(copy), episodes=1, workers=0, device="cpu")
    file = find_checkpoint(copy)[0] / DESCRIPTION
    description = json.loads(file.read_text())
    config = description["provenance"]["encoder_config"]
    assert config == {"_kind_": "pixels", "name": "pixels", "size": 16, "batch_size": 8}
    now = rollout(settings)
    # As the first versions wrote it.
    description["provenance"]["encoder_config"] = {
        "name": "pixels",
        "_target_": "egodtm_robot.encoders.pixels.PixelEncoder",
        "size": 16,
        "batch_size": 8,
    }
    file.write_text(json.dumps(description))
    assert rollout(settings)["episode_results"] == now["episode_results"]
