"""The main job on the real kitchen, as small as it gets."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from egodtm_robot.collect import collect_demonstrations
from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import ForeignStoreError, ResumeMismatchError
from egodtm_robot.demos.store import DemonstrationStore
from egodtm_robot.render import add_images
from egodtm_robot.report import RunResults
from egodtm_robot.rollout import RolloutConfig, rollout
from egodtm_robot.train_bc import TrainBCConfig, train_bc

SMALL = [
    "env=franka_kitchen_light",
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
    "videos=1",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demonstrations") / "light"
    config = configure(store=path, run_dir=path.parent)
    collect_demonstrations(config.env, path, episodes=3, noise=0.05, workers=0)
    return path


def configure(store: Path, run_dir: Path, *overrides: str) -> TrainBCConfig:
    places = [f"demos.path={store}", f"run_dir={run_dir}", "demos.noise=0.05"]
    return compose(TrainBCConfig, "train_bc", [*SMALL, *places, *overrides])


def weights(run_dir: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(run_dir / "checkpoints/step_0000060/policy.safetensors")


def outcome(results: RunResults) -> dict:
    return {
        "final": results.final,
        "encoder": results.encoder,
        "demos": results.demos["fingerprint"],
    }


@pytest.mark.parametrize("encoder", ["pixels", "oracle", "none"])
def test_a_run_leaves_results_checkpoints_and_films(
    store: Path, tmp_path: Path, encoder: str
) -> None:
    results, run_dir = train_bc(configure(store, tmp_path, f"encoder={encoder}"))
    assert results.final["episodes"] == 3
    low, high = results.final["wilson95"]
    assert low <= results.final["success_rate"] <= high
    assert results.env == "franka_kitchen_light"
    assert results.encoder["name"] == encoder
    assert set(results.timings_s) == {"collect", "embed", "train", "evaluate"}
    assert json.loads((run_dir / "results.json").read_text())["demos"]["episodes"] == 3
    for name in (*results.videos, "config.yaml", "checkpoints/step_0000060/policy.safetensors"):
        assert (run_dir / name).stat().st_size > 100, name


def test_the_same_seed_gives_the_same_weights_and_outcomes(store: Path, tmp_path: Path) -> None:
    first, first_dir = train_bc(configure(store, tmp_path / "a", "encoder=pixels"))
    again, again_dir = train_bc(configure(store, tmp_path / "b", "encoder=pixels", "workers=2"))
    assert outcome(first) == outcome(again)
    one, two = weights(first_dir), weights(again_dir)
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_a_finished_run_is_not_run_again(store: Path, tmp_path: Path) -> None:
    config = configure(store, tmp_path, "encoder=none")
    first, _ = train_bc(config)
    began = time.perf_counter()
    assert train_bc(config)[0] == first
    assert time.perf_counter() - began < 5


def test_a_run_folder_with_other_settings_is_refused(store: Path, tmp_path: Path) -> None:
    train_bc(configure(store, tmp_path, "encoder=none"))
    with pytest.raises(ResumeMismatchError, match="seed: 1"):
        train_bc(configure(store, tmp_path, "encoder=none", "seed=1"))


def test_a_run_killed_in_training_ends_with_the_same_weights(store: Path, tmp_path: Path) -> None:
    straight, straight_dir = train_bc(
        configure(store, tmp_path / "straight", "encoder=none", "protocol.training.steps=6000")
    )
    arguments = [
        *SMALL,
        f"demos.path={store}",
        "demos.noise=0.05",
        f"run_dir={tmp_path / 'killed'}",
        "encoder=none",
        "protocol.training.steps=6000",
    ]
    command = [sys.executable, "-m", "egodtm_robot.train_bc", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    states = tmp_path / "killed/checkpoints/resume"
    deadline = time.monotonic() + 60
    while len(list(states.glob("state_*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed/results.json").exists()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    resumed = RunResults.load(tmp_path / "killed")
    assert resumed.final == straight.final
    file = "checkpoints/step_0006000/policy.safetensors"
    one = (straight_dir / file).read_bytes()
    assert one == (tmp_path / "killed" / file).read_bytes()


def test_a_store_of_another_look_is_refused_unless_asked_for(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ForeignStoreError, match="varied"):
        train_bc(configure(store, tmp_path / "a", "encoder=none", "env.visual=varied"))
    results, _ = train_bc(
        configure(
            store, tmp_path / "b", "encoder=none", "env.visual=varied", "demos.allow_foreign=true"
        )
    )
    assert results.environment["visual"] == "varied"


def test_a_missing_camera_is_drawn_from_the_stored_states(store: Path, tmp_path: Path) -> None:
    train_bc(configure(store, tmp_path, "encoder=pixels", "env.cameras=[left,right]"))
    assert "rgb/right" in DemonstrationStore.open(store).array_names


def test_what_is_drawn_again_equals_what_was_collected(store: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "right"
    config = configure(store, tmp_path, "env.cameras=[right]")
    collect_demonstrations(config.env, fresh, episodes=1, noise=0.05, workers=0)
    add_images(store, config.env, workers=0)
    collected = DemonstrationStore.open(fresh).episode(0, ("rgb/right",))["rgb/right"]
    drawn = DemonstrationStore.open(store).episode(0, ("rgb/right",))["rgb/right"]
    assert np.array_equal(collected, drawn)


def test_rollouts_of_the_checkpoint_repeat_the_final_evaluation(
    store: Path, tmp_path: Path
) -> None:
    results, run_dir = train_bc(configure(store, tmp_path, "encoder=pixels"))
    settings = RolloutConfig(
        checkpoint=str(run_dir),
        episodes=3,
        video=str(tmp_path / "films"),
        videos=2,
        workers=0,
        device="cpu",
    )
    summary = rollout(settings)
    assert summary["successes"] == results.final["successes"]
    assert [Path(video).suffix for video in summary["videos"]] == [".mp4", ".gif", ".png"]
    again = rollout(settings)
    assert again["episode_results"] == summary["episode_results"]
