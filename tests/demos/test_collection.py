import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.core.errors import ForeignStoreError
from egodtm_robot.demos.collection import (
    CollectionError,
    EpisodeRequest,
    _give_up_if_hopeless,
    collect_demonstrations,
    run_expert_episode,
)
from egodtm_robot.demos.store import DemonstrationStore
from envs.kitchen.config import KitchenConfig
from envs.registry import make_environment

LIGHT = KitchenConfig(task="light", resolution=24)


def test_workers_do_not_change_what_is_collected(tmp_path: Path) -> None:
    collect_demonstrations(LIGHT, tmp_path / "one", 3, workers=0)
    collect_demonstrations(LIGHT, tmp_path / "two", 3, workers=2)
    one, two = (DemonstrationStore.open(tmp_path / name) for name in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    assert one.attempted_episodes == two.attempted_episodes


def test_collection_goes_on_where_it_was_left(tmp_path: Path) -> None:
    collect_demonstrations(LIGHT, tmp_path / "parts", 1, workers=0)
    summary = collect_demonstrations(LIGHT, tmp_path / "parts", 3, workers=0)
    assert (summary.kept, summary.collected) == (3, 2)
    collect_demonstrations(LIGHT, tmp_path / "whole", 3, workers=0)
    parts, whole = (DemonstrationStore.open(tmp_path / name) for name in ("parts", "whole"))
    assert parts.fingerprint == whole.fingerprint


def test_a_run_waits_for_another_one_that_collects_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("egodtm_robot.core.storage.locking._NOTICE_SECONDS", 0.1)
    collect_demonstrations(LIGHT, tmp_path, 1, workers=0)
    other = DemonstrationStore.open(tmp_path, "a")
    threading.Timer(1.5, other.close).start()
    summary = collect_demonstrations(LIGHT, tmp_path, 2, workers=0)
    assert (summary.kept, summary.collected) == (2, 1)
    assert f"waiting for process {os.getpid()} on host" in capsys.readouterr().err


def test_a_killed_collection_leaves_whole_episodes_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "store"
    command = [sys.executable, "-m", "egodtm_robot.collect", "env=franka_kitchen_light"]
    command += ["env.resolution=24", "episodes=40", "workers=1", f"out={path}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    kept = 0
    while kept < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
        if (path / ".commits").is_dir():
            try:
                kept = DemonstrationStore.open(path).num_episodes
            except Exception:  # the store is being made
                kept = 0
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    store = DemonstrationStore.open(path)
    assert 2 <= store.num_episodes < 40
    assert store.verify() == []
    wanted = store.num_episodes + 1
    collect_demonstrations(LIGHT, path, wanted, workers=0)
    assert DemonstrationStore.open(path).num_episodes == wanted


def test_executed_noise_leaves_the_recorded_action_clean() -> None:
    env = make_environment(LIGHT, modalities=())
    expert = env.demonstrator()
    quiet = run_expert_episode(env, expert, EpisodeRequest(11, 0.0))
    noisy = run_expert_episode(env, expert, EpisodeRequest(11, 0.1))
    assert quiet is not None
    assert noisy is not None
    # The first state is the same, so is the clean action there; then the noise shows.
    assert np.array_equal(quiet.actions[0], noisy.actions[0])
    assert not np.array_equal(quiet.proprioception[1], noisy.proprioception[1])
    env.restore(noisy.simulator_state[5], noisy.reset)
    expert.reset()
    assert np.allclose(expert.act(), noisy.actions[5], atol=1e-5)


def test_a_store_of_other_demonstrations_is_not_mixed_with_these(tmp_path: Path) -> None:
    collect_demonstrations(LIGHT, tmp_path / "store", 1, workers=0)
    with pytest.raises(ForeignStoreError, match="noise 0.3"):
        collect_demonstrations(LIGHT, tmp_path / "store", 2, noise=0.3, workers=0)


def test_an_expert_that_always_fails_ends_the_collection() -> None:
    _give_up_if_hopeless(kept=0, attempted=49)
    with pytest.raises(CollectionError, match="failed 50 of 50"):
        _give_up_if_hopeless(kept=0, attempted=50)
