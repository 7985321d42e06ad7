"""What a grid on a Ray cluster loses when a worker is killed: nothing.

    python benchmarks/grid_on_ray.py [--out runs/grid_on_ray] [--seeds 8]

Runs the same grid of short runs twice, three encoders in one environment, on two workers each: with
``runner=local``, and with ``runner=ray`` on a cluster that is started on this machine, one of whose
workers is killed by force while it does a run. Prints how long each took, whether every run was
finished once, and whether tables, rows of outcomes and weights are the same, byte for byte.
Demonstrations and features are made beforehand, so that both find them.
"""

import argparse
import json
import re
import threading
import time
from collections import Counter
from pathlib import Path

import psutil

from egodtm_robot.comparison.cells import cells_of
from egodtm_robot.comparison.grid import run_grid
from egodtm_robot.comparison.grid_config import GridConfig
from egodtm_robot.core.processes.local import LocalRunner
from egodtm_robot.core.processes.ray_cluster import RayRunner

ENCODERS = ["none", "pixels", "oracle"]
SHORT = [
    "demos.episodes=6",
    "protocol.training.steps=50",
    "protocol.training.validate_every=50",
    "protocol.final_episodes=3",
    "env.resolution=32",
    "env.horizon=40",
    "environments=3",
]
"""Everything that a run does, in a few seconds."""

RUNNERS = {
    "local": {"_target_": f"{LocalRunner.__module__}.LocalRunner", "workers": 2, "threads": 1},
    "ray": {
        "_target_": f"{RayRunner.__module__}.RayRunner",
        "groups": {"run": {"workers": 2, "cpus": 1}},
    },
}


def grid(out: Path, runner: str, seeds: list[int]) -> GridConfig:
    """The grid, in a folder of its own for each runner."""
    return GridConfig(
        encoders=ENCODERS,
        environments=["franka_kitchen_light"],
        protocols=["quick"],
        seeds=seeds,
        overrides=[*SHORT, f"demos.path={(out / 'demonstrations').resolve()}"],
        run_dir=str(out / runner),
        runner=RUNNERS[runner],
    )


class Killer(threading.Thread):
    """Kills the worker of the first run that is training, once some runs are finished.

    Args:
        run_dir: folder of the grid.
        finished: runs that have to be finished before.
    """

    def __init__(self, run_dir: Path, finished: int) -> None:
        super().__init__(daemon=True)
        self.run_dir, self.finished = run_dir, finished
        self.killed: str | None = None

    def run(self) -> None:
        """Look for a run to kill the worker of, again and again."""
        while self.killed is None:
            time.sleep(0.05)
            if len(list(self.run_dir.rglob("results.json"))) < self.finished:
                continue
            for process in psutil.Process().children(recursive=True):
                self._kill_worker_of(process)
                if self.killed is not None:
                    break

    def _kill_worker_of(self, run: psutil.Process) -> None:
        try:
            line = run.cmdline()
            place = next((one for one in line if one.startswith("run_dir=")), None)
            if "egodtm_robot.train_bc" not in line or place is None:
                return
            folder = Path(place.removeprefix("run_dir=").strip("'"))
            worker = run.parent()
            begun = (folder / "config.yaml").is_file()
            if worker is None or not begun or (folder / "results.json").is_file():
                return  # it is not in the midst of its work
            worker.kill()
            self.killed = "/".join(folder.parts[-2:])
        except psutil.Error:
            return


def evaluations(run_dir: Path) -> Counter[int]:
    """How many runs were evaluated to the end how often, by their logs."""
    done = re.compile(r"^evaluate +3/3 ", re.MULTILINE)
    return Counter(len(done.findall(log.read_text())) for log in run_dir.rglob("log.txt"))


def measured(config: GridConfig) -> str:
    """Run a grid; how many runs were missing, and how long they took."""
    missing = sum(cell.finished_folder(config) is None for cell in cells_of(config))
    began = time.perf_counter()
    run_grid(config)
    return f"{missing} runs in {time.perf_counter() - began:.0f} s"


def files(run_dir: Path, pattern: str) -> dict[str, bytes]:
    """The content of all files of a name, by their place in the folder."""
    return {
        str(path.relative_to(run_dir)): path.read_bytes() for path in sorted(run_dir.rglob(pattern))
    }


def main() -> None:
    """Run both and print what differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("runs/grid_on_ray"))
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args()
    out, seeds = options.out, list(range(options.seeds))
    configs = {name: grid(out, name, seeds) for name in RUNNERS}
    runs = len(ENCODERS) * len(seeds)

    print("demonstrations and features, by one run an encoder")
    first = grid(out, "local", [9999])
    first.run_dir = str(out / "first")
    run_grid(first)

    print(f"local: {measured(configs['local'])}", flush=True)

    killer = Killer(out / "ray", runs // 4)
    killer.start()
    print(
        f"ray:   {measured(configs['ray'])}; the worker of {killer.killed} was killed", flush=True
    )

    folders = [Path(config.run_dir) for config in configs.values()]
    for pattern in ("table.md", "table.json", "outcomes.csv", "policy.safetensors"):
        local, ray = (files(folder, pattern) for folder in folders)
        same = "the same bytes" if local == ray else "DIFFERENT"
        print(f"{pattern}: {len(local)} local, {len(ray)} on ray, {same}")
    once = evaluations(folders[1])
    progress = json.loads((folders[1] / "progress.json").read_text())
    print(
        f"on ray {progress['finished']} of {progress['total']} runs are finished; {once[1]} were "
        f"evaluated once, {runs - once[1]} never or more than once"
    )


if __name__ == "__main__":
    main()
