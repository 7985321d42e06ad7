"""Temporal ensembling: the mean of all plans that were made for a step.

Zhao et al., Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware (ACT), arXiv
2304.13705, Algorithm 2. The plans need not be kept: each new one joins a running mean, which has
the same value as the weighted mean over all of them.
"""

from collections.abc import Mapping

import numpy as np

_MEANS = "ensembled"
_COUNTS = "ensembled_plans"


class TemporalEnsemble:
    """Acts by the weighted mean of overlapping plans, without a state of its own.

    Args:
        chunk: actions C of a plan.
        decay: m; the i-th oldest plan for a step weighs ``exp(-m * i)``.
    """

    def __init__(self, chunk: int, decay: float) -> None:
        # The share of the n-th plan in the mean of n + 1: w_n / (w_0 + ... + w_n).
        with np.errstate(over="ignore"):  # a share of 0 is then right
            self._shares = 1.0 / np.cumsum(np.exp(decay * np.arange(chunk, dtype=np.float64)))

    def act(
        self, plans: np.ndarray, memory: Mapping[str, np.ndarray], starts: np.ndarray
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """One step of each environment.

        Args:
            plans: float32 (B, C, A), made now, for this step and those after it.
            memory: what the step before returned; empty at the start.
            starts: bool (B,), the rows whose memory is to be forgotten.

        Returns:
            Actions float32 (B, A), and the memory for the next step: the means of the plans for the
            steps to come (B, C, A), and how many plans each is of (B, C).
        """
        means = np.zeros(plans.shape, dtype=np.float64)
        counts = np.zeros(plans.shape[:2], dtype=np.int64)
        if _MEANS in memory:
            means[~starts] = memory[_MEANS][~starts]
            counts[~starts] = memory[_COUNTS][~starts]
        means += (plans - means) * self._shares[counts][..., None]
        actions = means[:, 0].astype(np.float32)
        ahead = np.zeros_like(means)
        ahead[:, :-1] = means[:, 1:]
        left = np.zeros_like(counts)
        left[:, :-1] = counts[:, 1:] + 1
        return actions, {_MEANS: ahead, _COUNTS: left}
