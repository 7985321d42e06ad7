"""The success rate of one arm, and the difference of two that share no episodes."""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from egodtm_robot.comparison.arms import Arm, Condition
from egodtm_robot.comparison.inference.estimate import (
    Array,
    MeanEstimate,
    Size,
    difference_estimate,
    half_width,
    mean_estimate,
)
from egodtm_robot.comparison.inference.variance import Variance, variance_of
from egodtm_robot.core.errors import EgoDTMRobotError
from egodtm_robot.core.intervals import Interval


class IncompleteArmError(EgoDTMRobotError, ValueError):
    """No run seed of an arm has a run under every condition, or two arms differ in conditions."""


def success_rate_estimate(arm: Arm, confidence: float = 0.95) -> MeanEstimate:
    """Mean success rate over conditions, with training and episodes as chance.

    It takes the run seeds that the arm has under every condition. Over several run seeds the
    interval is :func:`rate_interval`'s; over one it is Wilson's, with as many episodes as would
    give the same variance in one condition.

    Args:
        arm: with at least one run seed that has a run under every condition.
        confidence: between 0 and 1.

    Raises:
        IncompleteArmError: there is no such run seed.
        ValueError: the confidence is not between 0 and 1.
    """
    found = _mean(arm)
    rate, variance, size = found.rate, found.variance, found.size
    if size.run_seeds == 1:
        # Wilson's interval needs no smoothing of the variance, it has a width by itself.
        spread = float(variance.episode) / found.episodes_each
        interval = _wilson(rate, spread, size.episodes, confidence)
    else:
        low, high = rate_interval(np.array(rate), variance, size.episodes, confidence)
        interval = Interval(float(low), float(high))
    return mean_estimate(rate, interval, math.nan, variance, size, confidence)


def rate_interval(
    rate: Array, variance: Variance, episodes: int, confidence: float
) -> tuple[Array, Array]:
    """Interval of a mean rate over several run seeds.

    Student's interval of the log odds, so that it stays within [0, 1] and reaches further towards
    one half, where a rate near 0 or 1 has more room. Half an episode is added at either end.

    Args:
        rate: in [0, 1], any shape.
        variance: of ``rate``.
        episodes: how many in all.
        confidence: between 0 and 1.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    inner = (rate * episodes + 0.5) / (episodes + 1)
    half = half_width(variance, confidence) / (inner * (1 - inner))
    odds = special.logit(inner)
    return special.expit(odds - half), special.expit(odds + half)


def unpaired_estimate(first: Arm, second: Arm, confidence: float = 0.95) -> MeanEstimate:
    """Difference of two mean success rates of arms that share no episodes.

    Student's t with Welch's degrees of freedom (Biometrika 1947).

    Args:
        first: see :func:`success_rate_estimate`.
        second: likewise, under the same conditions.
        confidence: between 0 and 1.

    Raises:
        IncompleteArmError: an arm has no run seed that has a run under every condition, or the arms
            have different conditions.
        ValueError: the confidence is not between 0 and 1.
    """
    one, other = _mean(first), _mean(second)
    if one.conditions != other.conditions:
        raise IncompleteArmError(
            f"Expected {first.name!r} and {second.name!r} under the same conditions, got "
            f"{len(one.conditions)} and {len(other.conditions)}, of which "
            f"{len(set(one.conditions) & set(other.conditions))} are shared. Leave out what only "
            "one of them has."
        )
    size = Size(
        len(one.conditions),
        min(one.size.run_seeds, other.size.run_seeds),
        one.size.episodes + other.size.episodes,
    )
    variance = independent_variance(one.variance, other.variance)
    return difference_estimate(one.rate - other.rate, variance, size, confidence)


def independent_variance(first: Variance, second: Variance) -> Variance:
    """Variance of the difference of two independent means; NaN where one of them has one run seed.

    Args:
        first: of one mean.
        second: of the other mean.
    """
    total = first.total + second.total
    weights = (
        first.total**2 / first.degrees_of_freedom + second.total**2 / second.degrees_of_freedom
    )
    smaller = np.minimum(first.degrees_of_freedom, second.degrees_of_freedom)
    freedom = np.where(weights > 0, total**2 / np.where(weights > 0, weights, 1), smaller)
    return Variance(
        total,
        np.where(np.isnan(total), np.nan, freedom),
        first.by_episodes + second.by_episodes,
        first.training + second.training,
        first.episode + second.episode,
    )


class _Mean(NamedTuple):
    rate: float
    variance: Variance
    size: Size
    conditions: list[Condition]
    episodes_each: float


def _mean(arm: Arm) -> _Mean:
    runs = {(run.condition, run.run_seed): run for run in arm.runs}
    conditions = sorted({condition for condition, _ in runs})
    seeds = sorted(
        {seed for _, seed in runs if all((condition, seed) in runs for condition in conditions)}
    )
    if not seeds:
        raise IncompleteArmError(
            f"Expected a run seed of {arm.name!r} with a run under each of its {len(conditions)} "
            "conditions, got none. Train what is missing, or leave a condition out."
        )
    kept = [(condition, seed) for condition in conditions for seed in seeds]
    cells = {key: runs[key].success.astype(np.float64) for key in kept}
    episodes = {key: found for key in kept if (found := runs[key].episode_seeds) is not None}
    known = episodes if len(episodes) == len(cells) else None
    return _Mean(
        float(np.mean([cell.mean() for cell in cells.values()])),
        variance_of(conditions, seeds, cells, known),
        Size(len(conditions), len(seeds), sum(len(cell) for cell in cells.values())),
        conditions,
        float(1 / np.mean([1 / len(cell) for cell in cells.values()])),
    )


def _wilson(rate: float, variance: float, episodes: int, confidence: float) -> Interval:
    """Wilson's interval, with fewer episodes if the variance is larger than of so many alike."""
    if not 0 < confidence < 1:
        raise ValueError(f"Expected a confidence between 0 and 1, got {confidence}.")
    square = float(special.ndtri(0.5 + confidence / 2)) ** 2
    alike = rate * (1 - rate)
    count = min(episodes, alike / variance) if variance > 0 else episodes
    spread = math.sqrt(square * alike / count + square**2 / (4 * count**2))
    center, scale = rate + square / (2 * count), 1 + square / count
    low = 0.0 if rate == 0 else (center - spread) / scale
    high = 1.0 if rate == 1 else (center + spread) / scale
    return Interval(low, high)
