"""A value with its confidence interval, and that of a proportion of independent rows."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    """Ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval."""

    value: float
    interval: Interval


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion.

    It keeps its level for few trials and for rates near 0 and 1, where successes +- 2 standard
    errors does not (Brown, Cai & DasGupta, Statistical Science 2001). It knows of one source of
    chance, the episodes: over several training seeds see
    :mod:`egodtm_robot.comparison.inference`.

    Args:
        successes: from 0 to ``trials``.
        trials: at least 1.
        confidence: between 0 and 1.

    Raises:
        ValueError: the numbers are out of range.
    """
    _check_counts(successes, trials)
    z = _normal_quantile(confidence)
    rate = successes / trials
    spread = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    center = rate + z * z / (2 * trials)
    # Exact at the ends, where rounding would leave -1e-18 or 0.9999999999999999.
    low = 0.0 if successes == 0 else (center - spread) / scale
    high = 1.0 if successes == trials else (center + spread) / scale
    return Interval(low, high)


def _check_counts(successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            f"Expected 0 <= successes <= trials, trials >= 1; got {successes} of {trials}."
        )


def _normal_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"Expected a confidence between 0 and 1, got {confidence}.")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
