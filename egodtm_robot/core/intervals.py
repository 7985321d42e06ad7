"""Confidence intervals of a proportion and of a mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

_LARGEST_TABLE = 4_000_000
"""Cells of a table of resamples that is held in memory at once."""


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


def bootstrap_mean_interval(
    values: np.ndarray,
    clusters: Sequence[str],
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2_000,
) -> Interval:
    """Interval of a mean over rows of which those of one cluster resemble each other.

    A cluster bootstrap: whole clusters, such as the videos that clips were cut from, are drawn with
    replacement. Drawing the rows themselves would take the clips of one video for independent and
    give an interval that is too narrow.

    Args:
        values: float (n,), finite.
        clusters: n names, the cluster of each row.
        generator: source of the resamples.
        confidence: between 0 and 1.
        resamples: how many.

    Returns:
        The percentile interval; NaN for a single cluster, which says nothing about others.

    Raises:
        ValueError: there are no values, or not one cluster a value.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values) or len(values) != len(clusters):
        raise ValueError(
            f"Expected values (n,) with a cluster each, got shape {values.shape} and "
            f"{len(clusters)} clusters."
        )
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    if len(numbers) == 1:
        return Interval(math.nan, math.nan)
    cluster = np.array([numbers[name] for name in clusters])
    sums, counts = np.bincount(cluster, values), np.bincount(cluster)
    means = []
    # In blocks, since resamples times clusters is a large table for a large data set.
    block = max(1, _LARGEST_TABLE // len(numbers))
    shares = np.full(len(numbers), 1 / len(numbers))
    for start in range(0, resamples, block):
        drawn = generator.multinomial(len(numbers), shares, min(block, resamples - start))
        means.append((drawn @ sums) / (drawn @ counts))
    return _percentiles(np.concatenate(means), confidence)


def _percentiles(values: np.ndarray, confidence: float) -> Interval:
    _normal_quantile(confidence)
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _check_counts(successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            f"Expected 0 <= successes <= trials, trials >= 1; got {successes} of {trials}."
        )


def _normal_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"Expected a confidence between 0 and 1, got {confidence}.")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
