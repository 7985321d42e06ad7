"""Seeds of episodes, in disjoint ranges for everything that must not be seen twice.

One run seed enters. Demonstrations, tuning, checkpoint selection, final evaluation and
reinforcement learning draw their episode seeds from ranges that cannot meet, and different run
seeds cannot meet either, so that a reported success rate never contains an episode that shaped the
policy or its hyper-parameters.
"""

import hashlib
from typing import Literal, get_args

import numpy as np

Split = Literal["demonstrations", "selection", "final", "tuning", "reinforcement"]
SPLITS: tuple[Split, ...] = get_args(Split)

EPISODES_PER_RUN_SEED = 100_000
"""Episodes of a split that one run seed has."""

_RUN_SEEDS = 10_000
_SPAN = EPISODES_PER_RUN_SEED * _RUN_SEEDS
_SPLIT_BASE: dict[str, int] = {
    "demonstrations": 1 * _SPAN,
    "selection": 2 * _SPAN,
    "final": 3 * _SPAN,
    "tuning": 4 * _SPAN,
    "reinforcement": 5 * _SPAN,
}


def episode_seeds(split: Split, seed: int, count: int, start: int = 0) -> np.ndarray:
    """Seeds of ``count`` episodes of a split, beginning at its episode ``start``.

    Args:
        split: which of the disjoint ranges to draw from.
        seed: the run's seed, 0 to 9,999.
        count: how many episodes, at least 0.
        start: index of the first episode within the split.

    Returns:
        int64 array of shape (count,).

    Raises:
        ValueError: the seed or the episode index is outside the range that keeps splits disjoint.
    """
    if split not in _SPLIT_BASE:
        raise ValueError(f"Unknown split {split!r}; expected one of {sorted(_SPLIT_BASE)}.")
    if not 0 <= seed < _RUN_SEEDS:
        raise ValueError(f"Expected a seed from 0 to {_RUN_SEEDS - 1}, got {seed}.")
    if count < 0 or start < 0 or start + count > EPISODES_PER_RUN_SEED:
        raise ValueError(
            f"Expected at most {EPISODES_PER_RUN_SEED} episodes a split, "
            f"got start {start} and count {count}."
        )
    first = _SPLIT_BASE[split] + seed * EPISODES_PER_RUN_SEED + start
    return np.arange(first, first + count, dtype=np.int64)


def hashed_seed(content: bytes) -> int:
    """A seed in [0, 2**63) that is the same for the same bytes and far away for others."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little") >> 1
