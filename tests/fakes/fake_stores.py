"""Small stores of demonstrations made of random numbers."""

from pathlib import Path

import numpy as np

from egodtm_robot.demos import DemonstrationAttributes, DemonstrationStore, Episode

ATTRIBUTES = DemonstrationAttributes(
    environment="EgoDTMKitchen/Microwave-v0",
    task="microwave",
    randomization="default",
    visual="fixed",
    model_hash="0123abcd",
    mujoco_version="4.0.0",
    expert_version="1",
    noise=0.1,
    seed=0,
    cameras=("left",),
    resolution=(8, 10),
)


def make_episode(seed: int, attributes: DemonstrationAttributes = ATTRIBUTES) -> Episode:
    """An episode of 5 to 29 steps with images as the attributes say."""
    generator = np.random.default_rng(seed)
    steps = int(generator.integers(5, 30))
    shape = (steps, *attributes.resolution, 3)
    return Episode(
        rgb={
            camera: generator.integers(0, 256, shape, dtype=np.uint8)
            for camera in attributes.cameras
        },
        proprioception=generator.standard_normal((steps, 9)).astype(np.float32),
        privileged=generator.standard_normal((steps, 15)).astype(np.float32),
        actions=generator.uniform(-1, 1, (steps, 9)).astype(np.float32),
        simulator_state=generator.standard_normal((steps, 31)),
        reset={"base_offset": generator.standard_normal(3), "seed": np.int64(seed)},
        seed=seed,
    )


def make_store(path: Path, episodes: int) -> DemonstrationStore:
    """A store of the episodes with seeds 0, 1, ..."""
    with DemonstrationStore.create(path, ATTRIBUTES) as store:
        for seed in range(episodes):
            store.append_episode(make_episode(seed), rejected_before=seed % 2)
    return DemonstrationStore.open(path)
