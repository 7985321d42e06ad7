"""What a number of successes says: intervals, and comparisons of two policies."""

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
    chance, the episodes: over several training seeds use :func:`bootstrap_success_rate`.

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


def bootstrap_success_rate(
    outcomes: Sequence[np.ndarray],
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 10_000,
) -> Estimate:
    """Mean success rate over training seeds, with the seeds' own spread in the interval.

    A hierarchical bootstrap: seeds are drawn with replacement, then episodes within each drawn
    seed. With three seeds it is a lower bound on the uncertainty, since three can hardly show
    how far seeds spread.

    Args:
        outcomes: bool (episodes,) a training seed; the seeds weigh the same.
        generator: source of the resamples.
        confidence: between 0 and 1.
        resamples: how many.

    Raises:
        ValueError: no seeds, or a seed without episodes.
    """
    value = float(np.mean([np.mean(seed) for seed in _check_outcomes(outcomes)]))
    means = _resampled_means(outcomes, generator, resamples)
    return Estimate(value, _percentiles(means, confidence))


def bootstrap_difference(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 10_000,
) -> Estimate:
    """Difference of two mean success rates over training seeds; see bootstrap_success_rate.

    The two are resampled independently. Where they share their episodes
    :func:`bootstrap_paired_difference` sees more.

    Returns:
        Mean of ``first`` minus mean of ``second``.
    """
    value = float(
        np.mean([np.mean(seed) for seed in _check_outcomes(first)])
        - np.mean([np.mean(seed) for seed in _check_outcomes(second)])
    )
    differences = _resampled_means(first, generator, resamples) - _resampled_means(
        second, generator, resamples
    )
    return Estimate(value, _percentiles(differences, confidence))


def bootstrap_paired_difference(
    differences: Sequence[Sequence[np.ndarray]],
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 10_000,
) -> Estimate:
    """Difference of two mean success rates on the same episodes, with both sources of chance.

    Training seeds are drawn with replacement, then episodes within each task of a drawn seed. Every
    task weighs the same. What makes an episode easy or hard for both policies cancels.

    Args:
        differences: of each training seed, of each task: int (episodes,), the first policy's
            success minus the second's on the same episode, from -1 to 1. Every seed has the same
            number of tasks.
        generator: source of the resamples.
        confidence: between 0 and 1.
        resamples: how many.

    Raises:
        ValueError: no seeds, a seed without episodes, or values that are no differences.
    """
    for seed in differences:
        _check_outcomes(seed)
        for task in seed:
            if not np.isin(task, (-1, 0, 1)).all():
                raise ValueError("Expected differences of successes: -1, 0 or 1.")
    if len({len(seed) for seed in differences}) != 1:
        raise ValueError("Expected at least one training seed, each with the same tasks.")
    value = float(np.mean([np.mean([np.mean(task) for task in seed]) for seed in differences]))
    drawn = generator.integers(len(differences), size=(resamples, len(differences)))
    means = np.zeros(resamples)
    for of_task in zip(*differences, strict=True):
        episodes = np.array([len(seed) for seed in of_task])
        # Episodes drawn with replacement from -1, 0 and 1: multinomial counts of the three.
        shares = np.array([[np.mean(seed == d) for d in (-1, 0, 1)] for seed in of_task])
        counts = generator.multinomial(episodes[drawn], shares[drawn])
        means += ((counts[..., 2] - counts[..., 0]) / episodes[drawn]).mean(axis=1)
    return Estimate(value, _percentiles(means / len(differences[0]), confidence))


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


def _resampled_means(
    outcomes: Sequence[np.ndarray], generator: np.random.Generator, resamples: int
) -> np.ndarray:
    """(resamples,) means of rates of resampled seeds with resampled episodes."""
    rates = np.array([np.mean(seed) for seed in outcomes])
    sizes = np.array([len(seed) for seed in outcomes])
    drawn = generator.integers(len(rates), size=(resamples, len(rates)))
    # Episodes drawn with replacement from n outcomes with rate p: binomial (n, p) successes.
    return (generator.binomial(sizes[drawn], rates[drawn]) / sizes[drawn]).mean(axis=1)


def _percentiles(values: np.ndarray, confidence: float) -> Interval:
    _normal_quantile(confidence)
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _check_outcomes(outcomes: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    if len(outcomes) == 0 or any(len(seed) == 0 for seed in outcomes):
        raise ValueError(
            "Expected at least one training seed with at least one episode each, got "
            f"{[len(seed) for seed in outcomes]} episodes."
        )
    return outcomes


def _check_counts(successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            f"Expected 0 <= successes <= trials, trials >= 1; got {successes} of {trials}."
        )


def _normal_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"Expected a confidence between 0 and 1, got {confidence}.")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
