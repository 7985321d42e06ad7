"""The mean of rows of which those of one cluster resemble each other, and its interval.

Rows are questions to a model, clusters the videos that they are about. Few videos of unequal
lengths are the usual case, and there a bootstrap of videos is too sure of itself:
docs/results/statistics.md compares.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from egodtm_robot.core.intervals import Interval

PSEUDO_ROWS = 2
"""Rows of the largest possible difference that are added to a variance, so that it is never 0."""


@dataclass(frozen=True)
class ClusteredMean:
    """A mean with what is known of its chance.

    Attributes:
        value: the mean; of several strata the mean of their means.
        variance: of ``value``, between clusters; NaN for a single cluster.
        degrees_of_freedom: of ``variance``: at most one less than there are clusters, and fewer the
            more unequal they are. NaN for a single cluster.
        rows: how many.
        clusters: how many.
    """

    value: float
    variance: float
    degrees_of_freedom: float
    rows: int
    clusters: int


def clustered_mean(
    values: np.ndarray, clusters: Sequence[str], strata: Sequence[Hashable] | None = None
) -> ClusteredMean:
    """The mean of rows, with the variance between their clusters.

    Each residual is enlarged by what the mean has taken of it (CR2), and the degrees of freedom are
    those that this estimate has where rows are alike (Bell & McCaffrey, Survey Methodology 2002).
    With strata, such as the classes of a mean-class accuracy, it is the regression on the strata's
    means whose coefficients are averaged. A stratum with rows of one cluster alone shows nothing of
    the chance between clusters; its residual is the distance from the mean of all strata, which
    holds the differences of strata as well and is rather too large.

    Args:
        values: float (n,), finite, n at least 1.
        clusters: n names, the cluster of each row.
        strata: the stratum of each row; None for one.

    Raises:
        ValueError: the rows do not fit together.
    """
    values = np.asarray(values, np.float64)
    rows = len(values)
    if values.ndim != 1 or not rows or {len(clusters), len(strata or clusters)} != {rows}:
        raise ValueError(
            f"Expected values (n,) with a cluster and a stratum each, got shape {values.shape}, "
            f"{len(clusters)} clusters and {len(strata or clusters)} strata."
        )
    cluster, number = _numbered(clusters)
    stratum, parts = (np.zeros(rows, int), 1) if strata is None else _numbered(strata)
    sizes = np.bincount(stratum, minlength=parts).astype(np.float64)
    means = np.bincount(stratum, values, minlength=parts) / sizes
    value = float(values.mean() if parts == 1 else means.mean())
    if number == 1:
        return ClusteredMean(value, math.nan, math.nan, rows, 1)
    # The cells of a table of clusters and strata that have rows.
    cells, cell = np.unique(cluster * parts + stratum, return_inverse=True)
    count = np.bincount(cell).astype(np.float64)
    of_cluster, of_stratum = np.divmod(cells, parts)
    share = count / sizes[of_stratum]
    alone = share == 1
    center = np.where(alone, value, means[of_stratum])
    factor = 1 / np.sqrt(np.where(alone, 1.0, 1 - share))
    weight = factor / (parts * sizes[of_stratum])
    residual = (np.bincount(cell, values) - center * count) * weight
    variance = float((np.bincount(of_cluster, residual) ** 2).sum())
    # The estimate is a quadratic form in the rows; its matrix is diag(own) - shared shared'.
    own = np.bincount(of_cluster, count * weight**2)
    shared = np.zeros((number, parts))
    shared[of_cluster, of_stratum] = count * weight / np.sqrt(sizes[of_stratum])
    taken = (shared**2).sum(axis=1)
    gram = shared.T @ shared if parts <= number else shared @ shared.T
    squares = (own**2).sum() - 2 * (own * taken).sum() + (gram**2).sum()
    # Strata that lie in one cluster each say nothing of how sure the variance is.
    freedom = float((own.sum() - taken.sum()) ** 2 / squares) if squares > 0 else 1.0
    return ClusteredMean(value, variance, min(max(freedom, 1.0), number - 1), rows, number)


def clustered_interval(
    mean: ClusteredMean,
    within: tuple[float, float] | None = None,
    spread: float | None = None,
    confidence: float = 0.95,
) -> Interval:
    """Student's interval of a mean over clusters.

    Within bounds it is Wilson's interval with as many rows as would have this variance if they were
    independent, and Student's quantile in place of the normal one: it stays within the bounds, and
    reaches further towards the middle.

    Args:
        mean: of :func:`clustered_mean`.
        within: what values lie between, such as (0, 1) for right and wrong; None if nothing bounds
            them.
        spread: the largest distance of a row from the mean, which decides how much is added to the
            variance; None for that of the bounds, or nothing without any.
        confidence: between 0 and 1.

    Returns:
        Its ends; NaN for a single cluster, which says nothing about others.

    Raises:
        ValueError: the confidence is out of range.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"Expected a confidence between 0 and 1, got {confidence}.")
    if mean.clusters == 1:
        return Interval(math.nan, math.nan)
    quantile = float(special.stdtrit(mean.degrees_of_freedom, 0.5 + confidence / 2))
    if within is None:
        variance = mean.variance + PSEUDO_ROWS * (spread or 0.0) ** 2 / mean.rows**2
        half = quantile * math.sqrt(variance)
        return Interval(mean.value - half, mean.value + half)
    low, high = within
    rate = min(max((mean.value - low) / (high - low), 0.0), 1.0)
    variance = mean.variance / (high - low) ** 2 + PSEUDO_ROWS / mean.rows**2
    inner = (rate * mean.rows + PSEUDO_ROWS / 2) / (mean.rows + PSEUDO_ROWS)
    # Squared quantile over the number of independent rows.
    penalty = quantile**2 * variance / (inner * (1 - inner))
    middle = (rate + penalty / 2) / (1 + penalty)
    half = math.sqrt(penalty * rate * (1 - rate) + penalty**2 / 4) / (1 + penalty)
    ends = max(middle - half, 0.0), min(middle + half, 1.0)
    return Interval(low + (high - low) * ends[0], low + (high - low) * ends[1])


def _numbered(names: Sequence[Hashable]) -> tuple[np.ndarray, int]:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names]), len(numbers)
