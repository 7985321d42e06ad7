"""How fast the kitchen is drawn and simulated.

    python benchmarks/rendering.py

Prints frames a second by quality and resolution in one process and in two, milliseconds of a
physics step, and how far pictures of ``fast`` are from ``full``. A frame is all that an
observation costs: the scene's update, drawing, reading back and turning the picture upright.
Other work on the machine shows in frames a second, hence the load beside them, and less in the
processor time of a frame, which is that of all of Mesa's threads together.
"""

import multiprocessing
import os
import statistics
import time
from multiprocessing.pool import Pool

import numpy as np

from egodtm_robot.core.drawing import offscreen as rendering
from egodtm_robot.core.drawing.offscreen import OffscreenRenderer
from envs.kitchen import KitchenEnv
from envs.kitchen.scene import textured_model

RESOLUTIONS = {"fast": (112, 224, 256), "full": (224,)}
SECONDS = {"fast": 3.0, "full": 5.0}
# Full, but for what changes pixels by design: shadows, reflections, sky and smoothed edges.
PLAIN = rendering.Quality("plain", effects=False, multisampling=False)


def frame_times(quality: str, resolution: int, seconds: float) -> tuple[list[float], float]:
    """Seconds of each frame of an episode's start, drawn again and again, and of the processor."""
    env = KitchenEnv("microwave", cameras=("left",), resolution=resolution, quality=quality)
    env.reset(seed=0)
    env.render_camera("left")
    times: list[float] = []
    processor = time.process_time()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        env.render_camera("left")
        times.append(time.perf_counter() - start)
    processor = (time.process_time() - processor) / len(times)
    env.close()
    return times, processor


def one_process(quality: str, resolution: int) -> tuple[float, float, float]:
    """Frames a second by the median frame and the fastest tenth; processor ms a frame."""
    times, processor = frame_times(quality, resolution, SECONDS[quality])
    return 1 / statistics.median(times), 1 / float(np.quantile(times, 0.1)), processor * 1e3


def two_processes(pool: Pool, quality: str, resolution: int) -> float:
    """Frames a second of both together."""
    work = [(quality, resolution, SECONDS[quality])] * 2
    return sum(len(times) / sum(times) for times, _ in pool.starmap(frame_times, work, chunksize=1))


def physics_times(steps: int = 300) -> list[float]:
    """Seconds of control steps without images: physics, success rule, observation."""
    env = KitchenEnv("microwave", cameras=())
    env.reset(seed=0)
    generator = np.random.default_rng(0)
    times = []
    for _ in range(steps):
        action = generator.uniform(-0.3, 0.3, 9)
        start = time.perf_counter()
        _, _, terminated, truncated, _ = env.step(action)
        times.append(time.perf_counter() - start)
        if terminated or truncated:
            env.reset()
    return times


def differences() -> dict[str, float]:
    """Mean absolute difference of ``fast`` from full without effects, gray levels, by camera."""
    rendering.QUALITIES[PLAIN.name] = PLAIN
    env = KitchenEnv("microwave", cameras=())
    env.reset(seed=0)
    images = {}
    for quality in ("fast", PLAIN.name):
        with OffscreenRenderer(env.model, 224, 224, quality, textured_model) as renderer:
            for camera in ("left", "right", "top", "wrist"):
                images[quality, camera] = renderer.draw(env.data, camera)["rgb"].astype(np.int16)
    return {
        camera: float(np.abs(images["fast", camera] - images[PLAIN.name, camera]).mean())
        for camera in ("left", "right", "top", "wrist")
    }


def main() -> None:
    """Prints the tables."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before we start")
    print(
        f"{'quality':8} {'pixels':>7} {'median/s':>9} {'best tenth/s':>13} "
        f"{'processor ms':>13} {'two processes/s':>16}"
    )
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for quality, resolutions in RESOLUTIONS.items():
            for resolution in resolutions:
                median, best, processor = one_process(quality, resolution)
                both = two_processes(pool, quality, resolution)
                print(
                    f"{quality:8} {resolution:7} {median:9.1f} {best:13.1f} "
                    f"{processor:13.1f} {both:16.1f}",
                    flush=True,
                )
    times = physics_times()
    print(
        f"control step without images: median {statistics.median(times) * 1e3:.2f} ms, "
        f"best tenth {np.quantile(times, 0.1) * 1e3:.2f} ms"
    )
    for camera, difference in differences().items():
        print(f"fast from full without effects, {camera}: {difference:.2f} grey levels")
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
