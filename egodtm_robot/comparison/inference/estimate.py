"""An estimated mean or difference, and how sure it is."""

import math
from dataclasses import dataclass
from typing import Literal

from scipy import special

from egodtm_robot.core.intervals import Interval


@dataclass(frozen=True)
class MeanEstimate:
    """A mean over conditions, or a difference of two, with its confidence interval.

    Attributes:
        value: every condition weighs the same, and every run seed within it.
        interval: at the level ``confidence``.
        p_value: two-sided, of the hypothesis that the true value is 0.
        standard_error: of ``value``.
        degrees_of_freedom: of Student's t that interval and test rest on.
        training_share: which part of the squared standard error comes from training, in [0, 1]; NaN
            if ``over`` is ``episodes``.
        episode_share: the rest, which comes from the choice of episodes.
        training_variance: variance of a run seed's mean over conditions that remains with endless
            episodes; NaN if ``over`` is ``episodes``.
        episode_variance: what one episode a condition adds to the variance of a run seed's mean;
            with n episodes a condition it is an n-th of this.
        over: what chance the interval covers. ``episodes``: there is one run seed, and the interval
            says nothing about other training runs.
        conditions: how many.
        run_seeds: how many.
        episodes: how many in all.
        confidence: level of the interval.
    """

    value: float
    interval: Interval
    p_value: float
    standard_error: float
    degrees_of_freedom: float
    training_share: float
    episode_share: float
    training_variance: float
    episode_variance: float
    over: Literal["episodes", "runs and episodes"]
    conditions: int
    run_seeds: int
    episodes: int
    confidence: float = 0.95


def student_interval(
    value: float, standard_error: float, degrees_of_freedom: float, confidence: float
) -> Interval:
    """Value plus and minus a quantile of Student's t times the standard error.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"Expected a confidence between 0 and 1, got {confidence}.")
    half = float(special.stdtrit(degrees_of_freedom, 0.5 + confidence / 2)) * standard_error
    return Interval(value - half, value + half)


def student_p_value(value: float, standard_error: float, degrees_of_freedom: float) -> float:
    """Two-sided p-value of the hypothesis that the true value is 0."""
    if standard_error == 0:
        return 1.0 if value == 0 else 0.0
    if math.isnan(degrees_of_freedom):
        return math.nan
    return float(2 * special.stdtr(degrees_of_freedom, -abs(value) / standard_error))
