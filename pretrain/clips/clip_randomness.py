"""Random numbers of a clip that depend on nothing else."""

import hashlib

import numpy as np


def clip_generator(seed: int, key: str) -> np.random.Generator:
    """The random numbers of a clip, whatever is read before it."""
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8])])
