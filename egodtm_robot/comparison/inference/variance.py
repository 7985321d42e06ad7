"""How uncertain a mean over conditions, run seeds and episodes is, and which part is whose.

A run seed stands for one training run under each condition. What happens to it may be shared by all
conditions, for instance if the encoder's weights were trained with the same seed. Episodes are
*nested* if each run seed meets episodes of its own, and *crossed* if all run seeds meet the same
ones.

The variance is that of the run seeds' means, so it has one degree of freedom less than there are
run seeds. The differences between conditions within a run seed would add degrees of freedom, but
they say nothing of what conditions share. ``docs/results/statistics.md`` shows that no interval
which keeps its level for every amount of sharing is narrower on average.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egodtm_robot.comparison.arms import Condition

Array = NDArray[np.float64]
Design = Literal["nested", "crossed", "mixed"]
"""Whether run seeds meet episodes of their own, all the same ones, or something between."""


@dataclass(frozen=True, eq=False)
class Variance:
    """Squared standard errors of a mean; arrays of one shape, such as () or (simulations,).

    Attributes:
        total: from training and episodes together; NaN for one run seed.
        degrees_of_freedom: of ``total``; NaN for one run seed.
        by_episodes: from episodes alone, a lower bound of the truth; above 0.
        training: variance of a run seed's mean that remains with endless episodes; NaN for one run
            seed.
        episode: variance over episodes within a run seed, of the mean over conditions; a run seed's
            mean over n episodes a condition has an n-th of it.
    """

    total: Array
    degrees_of_freedom: Array
    by_episodes: Array
    training: Array
    episode: Array


def mean_variance(
    means: Array, residuals: Array, episodes: float, conditions: int, design: Design
) -> Variance:
    """Variance of the mean over run seeds.

    Args:
        means: float (..., seeds), each run seed's mean over conditions and episodes.
        residuals: float (..., seeds, columns), what each episode adds to its run seed's mean more
            than the average episode; a row sums to 0. In a crossed or mixed design a column is one
            episode, and 0 where a run seed has not met it.
        episodes: of a run seed under one condition; the harmonic mean if they differ.
        conditions: that the means were taken over.
        design: how episodes are shared between run seeds.
    """
    seeds = means.shape[-1]
    correction = episodes / max(episodes - 1, 1)
    within = (residuals**2).sum(axis=-1).mean(axis=-1) * correction
    shared = (residuals.sum(axis=-2) ** 2).sum(axis=-1) * correction / seeds**2
    # As if two episodes more had turned out differently: an interval of no width never arises.
    smoothing = 2 / (episodes * conditions * seeds) ** 2
    by_episodes = (within / seeds if design == "nested" else shared) + smoothing
    episode = within * episodes
    if seeds == 1:
        unknown = np.full_like(by_episodes, np.nan)
        return Variance(unknown, unknown, by_episodes, unknown, episode)
    by_seeds = means.var(axis=-1, ddof=1) / seeds
    if design == "nested":
        added = np.zeros_like(by_seeds)
    elif design == "crossed":
        # Means squares of the two-way table: episodes less interaction. The run seeds' own mean
        # square holds the interaction already.
        interaction = residuals - residuals.mean(axis=-2, keepdims=True)
        noise = (interaction**2).sum(axis=(-2, -1)) * correction / (seeds * (seeds - 1))
        added = np.maximum(shared - noise, 0)
    else:
        # What is nested counts twice here, so that the variance is rather too large.
        added = shared
    total = by_seeds + added
    # Satterthwaite's approximation.
    weights = by_seeds**2 / (seeds - 1) + added**2 / max(episodes - 1, 1)
    freedom = np.divide(total**2, weights, out=np.full_like(total, seeds - 1.0), where=weights > 0)
    training = np.maximum(total - by_episodes, 0) * seeds
    return Variance(total, freedom, by_episodes, training, episode)


class _Table(NamedTuple):
    means: Array
    residuals: Array
    episodes: float
    conditions: int
    design: Design


def variance_of(
    conditions: Sequence[Condition],
    run_seeds: Sequence[int],
    values: Mapping[tuple[Condition, int], Array],
    episode_seeds: Mapping[tuple[Condition, int], NDArray[np.int64]] | None,
) -> Variance:
    """Variance of the mean over conditions and run seeds of the cells' means.

    Episodes with the same seed under several conditions count as one piece of chance.

    Args:
        conditions: of the cells.
        run_seeds: of the cells.
        values: float (n,) of each cell, n >= 1.
        episode_seeds: int64 (n,) of each cell; None if they are not known, for which all episodes
            count as different.
    """
    if episode_seeds is None:
        number = np.cumsum([0, *(len(values[c, s]) for c in conditions for s in run_seeds)])
        starts = dict(zip(((c, s) for c in conditions for s in run_seeds), number, strict=False))
        episode_seeds = {key: start + np.arange(len(values[key])) for key, start in starts.items()}
    table = _table(conditions, run_seeds, values, episode_seeds)
    return mean_variance(*table)


def _table(
    conditions: Sequence[Condition],
    run_seeds: Sequence[int],
    values: Mapping[tuple[Condition, int], Array],
    episode_seeds: Mapping[tuple[Condition, int], NDArray[np.int64]],
) -> _Table:
    met = [np.unique(np.concatenate([episode_seeds[c, s] for c in conditions])) for s in run_seeds]
    columns = np.unique(np.concatenate(met))
    design: Design = "mixed"
    if sum(len(one) for one in met) == len(columns):
        design = "nested"
    elif all(
        np.array_equal(episode_seeds[c, s], episode_seeds[c, run_seeds[0]])
        for c in conditions
        for s in run_seeds
    ):
        design = "crossed"
    residuals = np.zeros((len(run_seeds), len(columns)))
    means = np.zeros(len(run_seeds))
    for row, seed in enumerate(run_seeds):
        for condition in conditions:
            cell = values[condition, seed]
            at = np.searchsorted(columns, episode_seeds[condition, seed])
            means[row] += cell.mean() / len(conditions)
            residuals[row, at] += (cell - cell.mean()) / (len(cell) * len(conditions))
    counts = [len(values[c, s]) for c in conditions for s in run_seeds]
    episodes = float(1 / np.mean(1 / np.array(counts)))
    return _Table(means, residuals, episodes, len(conditions), design)
