"""An estimated mean or difference, and how sure it is."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from egodtm_robot.comparison.inference.variance import Variance
from egodtm_robot.core.intervals import Interval

Array = NDArray[np.float64]
Over = Literal["episodes", "runs and episodes"]
"""The chance that an interval covers. ``episodes``: there is one run seed, and nothing is said
about other training runs."""


@dataclass(frozen=True)
class MeanEstimate:
    """A mean over conditions, or a difference of two, with its confidence interval.

    Attributes:
        value: every condition weighs the same, and every run seed within it.
        interval: at the level ``confidence``.
        p_value: two-sided, of the hypothesis that a true difference is 0; NaN for a rate.
        standard_error: of ``value``.
        degrees_of_freedom: of Student's t that interval and test rest on.
        episode_error: the part of the standard error that episodes alone cause.
        training_share: which part of the squared standard error comes from training, in [0, 1]; NaN
            if ``over`` is ``episodes``.
        episode_share: the rest, which comes from the choice of episodes; likewise NaN.
        training_variance: variance of a run seed's mean over conditions that would remain with
            endless episodes; NaN if ``over`` is ``episodes``.
        episode_variance: variance over episodes of the mean over conditions; a run seed's mean over
            n episodes a condition has an n-th of it.
        over: what chance the interval covers.
        conditions: how many.
        run_seeds: how many; of two arms that share none, the smaller number.
        episodes: how many in all; of two arms that share none, of both.
        confidence: level of the interval.
    """

    value: float
    interval: Interval
    p_value: float
    standard_error: float
    degrees_of_freedom: float
    episode_error: float
    training_share: float
    episode_share: float
    training_variance: float
    episode_variance: float
    over: Over
    conditions: int
    run_seeds: int
    episodes: int
    confidence: float = 0.95


@dataclass(frozen=True)
class Size:
    """What a mean was taken over.

    Attributes:
        conditions: how many.
        run_seeds: how many.
        episodes: how many in all.
    """

    conditions: int
    run_seeds: int
    episodes: int


def half_width(variance: Variance, confidence: float) -> Array:
    """Half the width of the interval of a mean.

    The wider of two: Student's t over the means of run seeds, and the normal distribution over
    episodes alone. The second is a lower bound of the truth. Without it a few run seeds that
    happen to agree would claim to know more than their episodes can say.

    Args:
        variance: of the mean.
        confidence: between 0 and 1.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"Expected a confidence between 0 and 1, got {confidence}.")
    upper = 0.5 + confidence / 2
    over_runs = special.stdtrit(variance.degrees_of_freedom, upper) * np.sqrt(variance.total)
    return np.fmax(over_runs, special.ndtri(upper) * np.sqrt(variance.by_episodes))


def tail_probability(
    distance: Array | float, error: Array | float, freedom: Array | float, episode_error: Array
) -> Array:
    """One-sided p-value of a mean that lies some way from a hypothesis; see half_width.

    Args:
        distance: from the hypothesis into the alternative; below 0 the data speak for the
            hypothesis.
        error: standard error over run seeds; NaN for one run seed.
        freedom: its degrees of freedom; NaN for one run seed.
        episode_error: standard error over episodes alone, above 0.
    """
    distance = np.asarray(distance, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        over_runs = special.stdtr(freedom, -distance / np.asarray(error, np.float64))
    return np.fmax(over_runs, special.ndtr(-distance / episode_error))


def difference_estimate(
    value: float, variance: Variance, size: Size, confidence: float
) -> MeanEstimate:
    """The estimate of a difference.

    Args:
        value: the difference.
        variance: of ``value``.
        size: what it was taken over.
        confidence: between 0 and 1.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    half = float(half_width(variance, confidence))
    tail = tail_probability(
        abs(value),
        np.sqrt(variance.total),
        variance.degrees_of_freedom,
        np.sqrt(variance.by_episodes),
    )
    interval = Interval(value - half, value + half)
    return mean_estimate(value, interval, min(1.0, 2 * float(tail)), variance, size, confidence)


def mean_estimate(
    value: float,
    interval: Interval,
    p_value: float,
    variance: Variance,
    size: Size,
    confidence: float,
) -> MeanEstimate:
    """An estimate with the parts of its variance.

    Args:
        value: the mean.
        interval: of ``value``.
        p_value: of its test.
        variance: of ``value``.
        size: what it was taken over.
        confidence: level of ``interval``.
    """
    by_episodes = float(variance.by_episodes)
    one = math.isnan(float(variance.total))
    total = by_episodes if one else max(float(variance.total), by_episodes)
    share = math.nan if one else 1 - by_episodes / total
    return MeanEstimate(
        value=value,
        interval=interval,
        p_value=p_value,
        standard_error=math.sqrt(by_episodes if one else float(variance.total)),
        degrees_of_freedom=math.inf if one else float(variance.degrees_of_freedom),
        episode_error=math.sqrt(by_episodes),
        training_share=share,
        episode_share=1 - share,
        training_variance=float(variance.training),
        episode_variance=float(variance.episode),
        over="episodes" if one else "runs and episodes",
        **vars(size),
        confidence=confidence,
    )
