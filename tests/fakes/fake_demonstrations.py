"""Demonstrations with features, of no environment."""

import numpy as np

from egodtm_robot.learning.dataset import CachedFeatureDataset


def make_dataset(episodes=10, seed=0, fingerprint="demos", channels=2):
    """Episodes of 5 to 12 steps; the action is a smooth function of state and features."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(5, 13, episodes)
    steps = int(lengths.sum())
    proprioception = generator.normal(size=(steps, 3)).astype(np.float32)
    features = generator.normal(size=(steps, 4, channels)).astype(np.float32)
    actions = 0.3 * proprioception[:, :2] + 0.4 * features[:, 0, :2]
    return CachedFeatureDataset(
        proprioception=proprioception,
        features={"left": features},
        actions=np.tanh(actions).astype(np.float32),
        episode_offsets=np.concatenate([[0], np.cumsum(lengths)]),
        grids={"left": (2, 2)},
        fingerprint=fingerprint,
    )
