"""How uncertain a mean over conditions, run seeds and episodes is, and which part is whose.

The structure: every run seed stands for one training run under each condition, and what happens to
it may be shared by all conditions. Episodes are *nested* if each run seed meets episodes of its
own, and *crossed* if all run seeds meet the same ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from egodtm_robot.comparison.arms import Condition

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Variance:
    """Variance of a mean; arrays of one shape, such as () or (simulations,).

    Attributes:
        squared_error: the squared standard error of the mean.
        degrees_of_freedom: of ``squared_error``.
        training: variance of a run seed's mean with endless episodes; NaN for one run seed.
        episode: what one episode a condition adds to the variance of a run seed's mean.
        training_share: part of ``squared_error`` that training causes; NaN for one run seed.
    """

    squared_error: Array
    degrees_of_freedom: Array
    training: Array
    episode: Array
    training_share: Array


def nested_variance(means: Array, sampling: Array, episodes: float) -> Variance:
    """Variance of the mean of cells whose run seeds have episodes of their own.

    Args:
        means: float (..., seeds, conditions), the mean of each cell over its episodes.
        sampling: float (..., seeds, conditions), the variance of each of these means that its
            episodes cause.
        episodes: in a cell, the harmonic mean if cells differ.
    """
    seeds, conditions = means.shape[-2:]
    by_episodes = sampling.sum(axis=(-2, -1)) / (seeds * conditions) ** 2
    if seeds == 1:
        unknown = np.full_like(by_episodes, np.nan)
        freedom = np.full_like(by_episodes, np.inf)
        return Variance(by_episodes, freedom, unknown, by_episodes * episodes, unknown)
    by_seeds = means.mean(axis=-1).var(axis=-1, ddof=1) / seeds
    total = np.maximum(by_seeds, by_episodes)
    training = np.maximum(by_seeds - by_episodes, 0)
    share = np.divide(training, total, out=np.zeros_like(total), where=total > 0)
    freedom = np.full_like(total, seeds - 1)
    return Variance(total, freedom, training * seeds, by_episodes * seeds * episodes, share)


def variance_of(
    conditions: Sequence[Condition],
    run_seeds: Sequence[int],
    values: Mapping[tuple[Condition, int], Array],
) -> Variance:
    """Variance of the mean over conditions and run seeds of the cells' means.

    Args:
        conditions: of the cells.
        run_seeds: of the cells.
        values: float (n,) of each cell, n >= 1.
    """
    cells = [[values[condition, seed] for condition in conditions] for seed in run_seeds]
    means = np.array([[cell.mean() for cell in row] for row in cells])
    sampling = np.array([[_sampling_variance(cell) for cell in row] for row in cells])
    counts = np.array([[len(cell) for cell in row] for row in cells])
    return nested_variance(means, sampling, float(1 / np.mean(1 / counts)))


def _sampling_variance(cell: Array) -> float:
    """Of the mean of a cell.

    One made-up episode at each of -1 and 1 keeps it above 0 where all episodes went alike.
    """
    padded = np.concatenate([cell, [-1.0, 1.0]]) if np.ptp(cell) == 0 else cell
    return float(padded.var(ddof=1) / len(cell))
