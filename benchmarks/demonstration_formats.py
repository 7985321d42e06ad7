"""How fast the same demonstrations are read from our store and from other toolkits' layouts.

    python benchmarks/demonstration_formats.py STORE [PYTHON]

STORE is a store of demonstrations with images, such as ``collect`` makes. It is written in every
format, then the following is timed, one format after the other in every round, as medians over the
rounds:

- a batch of 64 random steps: images of one camera, proprioception and actions;
- one whole episode of the same;
- opening, until the first step can be read.

Ours is ``DemonstrationStore``; robomimic's file is read by h5py as its ``SequenceDataset`` does
without a cache, diffusion_policy's buffer by zarr-python as its ``create_from_path`` does. With
PYTHON, an interpreter that has lerobot, lerobot's own loader is timed there in the same run.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

from egodtm_robot.core.storage import folder_bytes, format_bytes
from egodtm_robot.demos import DemonstrationStore
from egodtm_robot.demos.convert.contract import make_format
from egodtm_robot.demos.convert.exporting import export_demonstrations

BATCH, ROUNDS = 64, 15

LAYOUTS: dict[str, dict[str, Any]] = {
    "LeRobot, MP4": {"name": "lerobot"},
    "LeRobot, PNG": {"name": "lerobot", "images": "image"},
    "robomimic": {"name": "robomimic"},
    "robomimic, gzip": {"name": "robomimic", "compression": "gzip"},
    "diffusion_policy": {"name": "diffusion_policy"},
}

LEROBOT = """
import json, sys, time
import numpy as np, torch
torch.set_num_threads(1)
from lerobot.datasets.lerobot_dataset import LeRobotDataset
root, camera, jobs = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
start = time.perf_counter()
data = LeRobotDataset("local/timed", root=root, video_backend="pyav")
data[0]
times = {"open": [time.perf_counter() - start], "batch": [], "episode": []}
for kind, indices in jobs:
    start = time.perf_counter()
    rows = [data[i] for i in indices]
    batch = [torch.stack([r[k] for r in rows]) for k in (camera, "observation.state", "action")]
    times[kind].append(time.perf_counter() - start)
print(json.dumps(times))
"""

Reader = Callable[[], Callable[[np.ndarray], Sequence[np.ndarray]]]


def ours(path: Path, camera: str) -> Callable[[np.ndarray], Sequence[np.ndarray]]:
    """A reader of rows of the store."""
    store = DemonstrationStore.open(path)
    names = (f"rgb/{camera}", "proprioception", "actions")

    def rows(indices: np.ndarray) -> Sequence[np.ndarray]:
        whole = len(indices) > 1 and (np.diff(indices) == 1).all()
        where = slice(int(indices[0]), int(indices[-1]) + 1) if whole else indices
        return list(store.steps(where, names).values())

    return rows


def robomimic(path: Path, camera: str) -> Callable[[np.ndarray], Sequence[np.ndarray]]:
    """A reader of rows of an HDF5 file, a row at a time unless they follow one another."""
    data = h5py.File(path, "r", swmr=True, libver="latest")["data"]
    demos = sorted(data, key=lambda name: int(name[5:]))
    lengths = [int(data[demo].attrs["num_samples"]) for demo in demos]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    names = (f"obs/{camera}_image", "obs/proprioception", "actions")

    def rows(indices: np.ndarray) -> Sequence[np.ndarray]:
        number = np.searchsorted(starts, indices, side="right") - 1
        if len(set(number.tolist())) == 1 and (np.diff(indices) == 1).all():
            demo = data[demos[number[0]]]
            first = int(indices[0] - starts[number[0]])
            return [demo[name][first : first + len(indices)] for name in names]
        return [
            np.stack(
                [
                    data[demos[n]][name][int(i - starts[n])]
                    for n, i in zip(number, indices, strict=True)
                ]
            )
            for name in names
        ]

    return rows


def replay_buffer(path: Path, camera: str) -> Callable[[np.ndarray], Sequence[np.ndarray]]:
    """A reader of rows of a Zarr v2 buffer."""
    data: Any = zarr.open_group(path, mode="r")["data"]
    arrays = [data[name] for name in (camera, "state", "action")]

    def rows(indices: np.ndarray) -> Sequence[np.ndarray]:
        if len(indices) > 1 and (np.diff(indices) == 1).all():
            return [array[int(indices[0]) : int(indices[-1]) + 1] for array in arrays]
        return [array.oindex[indices] for array in arrays]

    return rows


def main() -> None:
    """Write the layouts, time them, and print a table."""
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    store = DemonstrationStore.open(sys.argv[1])
    camera = store.attributes.cameras[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = {"ours": folder_bytes(store.path)}
        paths = {}
        for title, options in LAYOUTS.items():
            path = paths[title] = folder / title.replace(", ", "_")
            export_demonstrations(make_format(options), store.path, path, workers=0)
            sizes[title] = folder_bytes(path) if path.is_dir() else path.stat().st_size
        openers: dict[str, Callable[[], Any]] = {
            "ours": lambda: ours(store.path, camera),
            "robomimic": lambda: robomimic(paths["robomimic"], camera),
            "robomimic, gzip": lambda: robomimic(paths["robomimic, gzip"], camera),
            "diffusion_policy": lambda: replay_buffer(paths["diffusion_policy"], camera),
        }
        times = measure(store, openers)
        if len(sys.argv) > 2:
            for title in ("LeRobot, MP4", "LeRobot, PNG"):
                times[title] = measure_lerobot(sys.argv[2], paths[title], camera, store)
        report(store, camera, times, sizes)


def jobs(store: DemonstrationStore, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A random batch and a random episode."""
    generator = np.random.default_rng(seed)
    number = int(generator.integers(store.num_episodes))
    episode = np.arange(*store.episode_offsets[number : number + 2])
    return generator.integers(0, store.num_steps, BATCH), episode


def measure(
    store: DemonstrationStore, openers: dict[str, Callable[[], Any]]
) -> dict[str, dict[str, float]]:
    """Median seconds of each kind of read, the formats by turns."""
    taken: dict[str, dict[str, list[float]]] = {
        title: {"open": [], "batch": [], "episode": []} for title in openers
    }
    first = np.zeros(1, np.int64)
    for number in range(ROUNDS):
        batch, episode = jobs(store, number)
        expected = None
        for title, opener in openers.items():
            start = time.perf_counter()
            rows = opener()
            rows(first)
            taken[title]["open"].append(time.perf_counter() - start)
            for kind, indices in (("batch", batch), ("episode", episode)):
                start = time.perf_counter()
                found = rows(indices)
                taken[title][kind].append(time.perf_counter() - start)
            expected = found if expected is None else expected
            assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)), title
    return {
        title: {kind: statistics.median(values) for kind, values in kinds.items()}
        for title, kinds in taken.items()
    }


def measure_lerobot(
    python: str, path: Path, camera: str, store: DemonstrationStore
) -> dict[str, float]:
    """Median seconds of lerobot's own loader."""
    work = []
    for number in range(ROUNDS):
        batch, episode = jobs(store, number)
        work += [("batch", batch.tolist()), ("episode", episode.tolist())]
    done = subprocess.run(
        [python, "-c", LEROBOT, str(path), f"observation.images.{camera}", json.dumps(work)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(path.parent / "cache")},
    )
    if done.returncode:
        raise SystemExit(f"lerobot failed:\n{done.stderr[-2000:]}")
    times = json.loads(done.stdout.splitlines()[-1])
    return {kind: statistics.median(values) for kind, values in times.items()}


def report(
    store: DemonstrationStore,
    camera: str,
    times: dict[str, dict[str, float]],
    sizes: dict[str, int],
) -> None:
    """Print the table in Markdown; in brackets the multiple of ours."""
    height, width = store.attributes.resolution
    print(
        f"{store.num_episodes} episodes of {store.num_steps} steps, images of {height} x {width} "
        f"of the camera {camera!r}; medians of {ROUNDS} rounds"
    )
    print(f"\n| Layout | Batch of {BATCH}, ms | Episode, ms | Open, ms | On disk |")
    print("|---|---|---|---|---|")
    base = times["ours"]
    for title in ("ours", *LAYOUTS):
        size = f"{format_bytes(sizes[title])} (x{sizes[title] / sizes['ours']:.2f})"
        if title not in times:
            print(f"| {title} | | | | {size} |")
            continue
        cells = [
            f"{1e3 * times[title][kind]:.1f} (x{times[title][kind] / base[kind]:.1f})"
            for kind in ("batch", "episode", "open")
        ]
        print(f"| {title} | {' | '.join(cells)} | {size} |")


if __name__ == "__main__":
    main()
