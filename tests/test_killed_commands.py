"""Every command that has workers, killed by force while they work."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from egodtm_robot.core.configuration.instantiation import group_config
from egodtm_robot.demos import DemonstrationStore
from egodtm_robot.demos.collection import collect_demonstrations
from envs.options import EnvironmentConfig
from envs.registry import read_environment

sys.path.append(str(Path(__file__).parent / "fakes"))
from fake_clips import make_store
from fake_videos import write_video
from process_tree import assert_gone, wait_until, workers_of

FAKES = Path(__file__).parent / "fakes"
ROOT = Path(__file__).parents[1]


def microwave(resolution: int) -> EnvironmentConfig:
    """The environment of the commands by default, with images of another size."""
    options = group_config("env", "franka_kitchen_microwave")
    return read_environment(options | {"resolution": resolution})


def collect(tmp_path: Path) -> list[str]:
    store = f"out={tmp_path / 'demonstrations'}"
    return ["egodtm_robot.collect", store, "episodes=500", "env.resolution=32"]


def benchmark(tmp_path: Path) -> list[str]:
    """Its runs are ``train_bc``, which collects with workers of its own here."""
    one = ["encoders=[none]", "environments=[franka_kitchen_light]", "seeds=[0,1]"]
    demos = f"overrides=['demos.path={tmp_path / 'demonstrations'}','demos.episodes=500']"
    return ["egodtm_robot.benchmark", *one, demos, f"run_dir={tmp_path / 'runs'}"]


def generate(tmp_path: Path) -> list[str]:
    return ["pretrain.generate", f"out={tmp_path / 'clips'}", "clips=5000"]


def rechunk(tmp_path: Path) -> list[str]:
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / "videos" / name, 12_000)
    return ["pretrain.rechunk", f"videos={tmp_path / 'videos'}", f"out={tmp_path / 'out'}"]


def prepare(tmp_path: Path) -> list[str]:
    store = make_store(tmp_path / "store", range(6))
    source = ["source=synthetic", f"source.store={store}", "shard_clips=2"]
    log = f"+depth.log={tmp_path / 'log'}"
    depth = ["depth._target_=fake_annotators.FakeDepth", "+depth.sleep_s=30", log]
    return ["pretrain.prepare", *source, *depth, f"out={tmp_path / 'out'}"]


def render(tmp_path: Path) -> list[str]:
    store = tmp_path / "demonstrations"
    collect_demonstrations(microwave(16), store, 4, workers=0)
    return ["egodtm_robot.render", f"demos={store}", "env.resolution=1024", "env.quality=full"]


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a command."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(FAKES)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def at_work(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Workers that are past the imports of their main module, by the time that they computed."""
    return [one for one in workers_of(process.pid) if processor_seconds(one) > 1]


def processor_seconds(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:2]))
    except psutil.Error:
        return 0.0


def pieces_begun(tmp_path: Path) -> int:
    """Videos that workers of ``rechunk`` are cutting or have cut: each has a folder at once."""
    out = tmp_path / "out"
    return sum(place.is_dir() for place in out.iterdir()) if out.is_dir() else 0


def batches_begun(tmp_path: Path) -> int:
    """Batches that the sleeping annotator of ``prepare`` was given."""
    log = tmp_path / "log"
    return len(log.read_text().splitlines()) if log.is_file() else 0


@pytest.mark.parametrize(
    ("command", "begun"),
    [
        (collect, None),
        (render, None),
        (benchmark, None),
        (generate, None),
        # These compute too little for their time to tell that they are at work.
        (rechunk, pieces_begun),
        (prepare, batches_begun),
    ],
)
def test_workers_end_with_a_killed_command(
    tmp_path: Path, command: Callable[[Path], list[str]], begun: Callable[[Path], int] | None
):
    process = start(*command(tmp_path))
    if begun is None:
        wait_until(lambda: len(at_work(process)) >= 2, process)
    else:
        wait_until(lambda: begun(tmp_path) >= 2, process)
    below = workers_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert_gone(below)


def kill_a_worker_of(process: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: len(at_work(process)) >= 2, process)
    at_work(process)[0].kill()
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said.decode()


def test_a_collection_that_lost_a_worker_holds_the_same_demonstrations(tmp_path: Path):
    command = collect(tmp_path)
    kill_a_worker_of(start(*command, "episodes=8"))
    collect_demonstrations(microwave(32), tmp_path / "alone", 8, workers=0)
    one, other = (DemonstrationStore.open(tmp_path / n) for n in ("demonstrations", "alone"))
    assert one.prefix_fingerprint(8) == other.prefix_fingerprint(8)
    assert one.attempted_episodes == other.attempted_episodes
