"""Small stores of demonstrations as another toolkit might have recorded them."""

import dataclasses
from pathlib import Path

import numpy as np

from egodtm_robot.demos import DemonstrationStore, Episode, Origin, foreign_attributes

ORIGIN = Origin(
    format="teleoperation",
    version="2",
    name="so100_pick",
    fps=30.0,
    robot_type="so100",
    resolutions={"top": (16, 20), "wrist": (12, 12)},
    tasks=("pick the cube", "place the cube"),
    columns={"actions": "motors", "rgb/top": "webcam"},
    metadata={"calibration": {"motors": [0.5, 1.0, 2.0]}},
)


def make_foreign_episode(number: int, steps: int | None = None) -> Episode:
    """Degrees for actions, two cameras of different sizes, two tasks, a reward, a note."""
    generator = np.random.default_rng(number)
    steps = int(generator.integers(5, 12)) if steps is None else steps
    # Smooth pictures, so that a video codec has a fair task.
    y, x, t = np.mgrid[0:16, 0:20, 0:steps]
    picture = np.stack([10 * x + t, 15 * y, 5 * (x + y) + number], -1) % 256
    frames = np.ascontiguousarray(picture.transpose(2, 0, 1, 3)).astype(np.uint8)
    return Episode(
        rgb={"top": frames, "wrist": np.ascontiguousarray(frames[:, :12, :12][..., ::-1])},
        proprioception=generator.normal(0, 90, (steps, 4)).astype(np.float32),
        privileged=np.zeros((steps, 0), np.float32),
        actions=generator.normal(0, 90, (steps, 3)).astype(np.float32),
        simulator_state=np.zeros((steps, 0)),
        reset={},
        seed=number,
        success=[True, False, None][number % 3],
        task_index=np.arange(steps, dtype=np.int64) % 2,
        extra={"next.reward": generator.normal(size=steps), "done": np.arange(steps) == steps - 1},
        notes={"operator": f"person {number}"},
    )


def make_foreign_store(path: Path, episodes: int = 4, odd: bool = False) -> DemonstrationStore:
    """A store of the episodes 0, 1, ...; ``odd`` takes a row off the pictures of one camera."""
    origin = ORIGIN
    if odd:
        origin = dataclasses.replace(ORIGIN, resolutions={"top": (15, 20), "wrist": (12, 12)})
    with DemonstrationStore.create(path, foreign_attributes(origin)) as store:
        for number in range(episodes):
            episode = make_foreign_episode(number)
            if odd:
                episode.rgb["top"] = episode.rgb["top"][:, :15]
            store.append_episode(episode)
    return DemonstrationStore.open(path)
