"""How fast demonstrations are read, beside an array in memory and zarr-python on the same files.

    python benchmarks/demonstration_store.py [STORE]

Without STORE it makes one of synthetic images (shaded boxes) in a temporary folder: 40 episodes of
50 steps at 112 px. Times are medians in milliseconds; the ratios are time / time in memory and
time / zarr-python's.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr

from egodtm_robot.core.storage.array_spec import TARGET_CHUNK_BYTES
from egodtm_robot.demos import DemonstrationAttributes, DemonstrationStore, Episode
from egodtm_robot.demos.shuffled_steps import ShuffledSteps

EPISODES, STEPS, PIXELS = 40, 50, 112
REPETITIONS = 25
BATCH = 64


def make_store(path: Path) -> None:
    """Fill a store with drawings that compress about as well as rendered kitchens."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[0:PIXELS, 0:PIXELS] / PIXELS
    attributes = DemonstrationAttributes(
        environment="synthetic",
        task="none",
        randomization="none",
        visual="none",
        model_hash="none",
        mujoco_version="none",
        expert_version="none",
        noise=0.0,
        seed=0,
        cameras=("left",),
        resolution=(PIXELS, PIXELS),
    )
    times = []
    with DemonstrationStore.create(path, attributes) as store:
        for seed in range(EPISODES):
            frames = np.empty((STEPS, PIXELS, PIXELS, 3), np.uint8)
            for frame in frames:
                image = np.stack([120 + 80 * np.sin(3 * x), 100 + 60 * y, 90 + 90 * x * y], -1)
                for left, top, width, height in generator.random((12, 4)) * [0.8, 0.8, 0.3, 0.3]:
                    inside = (x > left) & (x < left + width) & (y > top) & (y < top + height)
                    image[inside] = image[inside] / 2 + generator.integers(0, 120, 3)
                frame[:] = image.clip(0, 255)
            episode = Episode(
                rgb={"left": frames},
                proprioception=generator.standard_normal((STEPS, 9)).astype(np.float32),
                privileged=generator.standard_normal((STEPS, 15)).astype(np.float32),
                actions=generator.uniform(-1, 1, (STEPS, 9)).astype(np.float32),
                simulator_state=generator.standard_normal((STEPS, 90)),
                reset={f"value_{n}": generator.standard_normal(3) for n in range(10)},
                seed=seed,
            )
            start = time.perf_counter()
            store.append_episode(episode)
            times.append(time.perf_counter() - start)
    print(f"append an episode, on disk when it returns: {1e3 * np.median(times):.1f} ms")


def median_ms(function: Callable[[], object]) -> float:
    """Median wall time of a call in milliseconds."""
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def report(what: str, ours: float, memory: float, zarr_python: float) -> None:
    """Print one line of the table."""
    print(
        f"{what:34s} {ours:8.3f} {memory:8.3f} {zarr_python:8.3f}"
        f"   x{ours / memory:7.1f}   x{ours / zarr_python:5.2f}"
    )


def measure(path: Path) -> None:
    """Print all times for one store."""
    print(f"open: {median_ms(lambda: DemonstrationStore.open(path)):.2f} ms")
    store = DemonstrationStore.open(path)
    name = next(name for name in store.array_names if name.startswith("rgb/"))
    start = time.perf_counter()
    images = store.steps(slice(None), [name])[name]
    seconds = time.perf_counter() - start
    print(f"read all {len(images)} images: {images.nbytes / seconds / 1e6:.0f} MB/s")
    start = time.perf_counter()
    problems = store.verify()
    seconds = time.perf_counter() - start
    print(f"verify: {seconds:.2f} s, {len(problems)} problems")
    files = (path / "observations" / name).glob("c.*")
    size = sum(file.stat().st_size for file in files)
    print(
        f"images on disk: {size / images.nbytes:.2f} of their bytes, chunks of "
        f"{TARGET_CHUNK_BYTES // images[0].nbytes} images"
    )
    array = zarr.open_array(path / "observations" / name, mode="r")
    offsets = store.episode_offsets
    generator = np.random.default_rng(0)

    def step() -> int:
        return int(generator.integers(store.num_steps))

    def episode() -> slice:
        number = int(generator.integers(store.num_episodes))
        return slice(int(offsets[number]), int(offsets[number + 1]))

    def batch() -> np.ndarray:
        return generator.integers(0, store.num_steps, BATCH)

    print(f"{'':34s} {'store':>8s} {'memory':>8s} {'zarr':>8s}")
    report(
        "image of a random step",
        median_ms(lambda: store.steps([step()], [name])),
        median_ms(lambda: images[step()].copy()),
        median_ms(lambda: array[step()]),
    )
    report(
        "images of a random episode",
        median_ms(lambda: store.steps(episode(), [name])),
        median_ms(lambda: images[episode()].copy()),
        median_ms(lambda: array[episode()]),
    )
    report(
        f"images of {BATCH} random steps",
        median_ms(lambda: store.steps(batch(), [name])),
        median_ms(lambda: images[batch()]),
        median_ms(lambda: array.oindex[np.unique(batch())]),
    )
    steps = ShuffledSteps(store)
    for what in ("first pass", "later passes"):
        start = time.perf_counter()
        count = sum(1 for _ in steps.batches(BATCH, generator, [name, "actions"]))
        ours = 1e3 * (time.perf_counter() - start) / count
        report(
            f"a shuffled batch of {BATCH}, {what}",
            ours,
            median_ms(lambda: images[batch()]),
            median_ms(lambda: array.oindex[np.unique(batch())]),
        )


def main() -> None:
    """Measure the store that is named, or a synthetic one."""
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_store(Path(folder) / "demos")
        measure(Path(folder) / "demos")


if __name__ == "__main__":
    main()
