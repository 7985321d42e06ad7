"""The difference of two means over the same rows, where rows of one cluster resemble each other.

Rows are questions to two models, clusters the videos that they are about. Few videos of unequal
lengths are the usual case, and there a bootstrap of videos is too sure of itself:
docs/results/statistics.md compares.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from egodtm_robot.core.intervals import Interval


@dataclass(frozen=True)
class PairedDifference:
    """A difference of two means.

    Attributes:
        value: the first mean minus the second.
        interval: of ``value``; NaN where nothing can be said: of a single cluster, or where no row
            differs.
        p_value: two-sided, of the hypothesis that there is no difference; 1 where no row differs,
            NaN for a single cluster.
        degrees_of_freedom: of Student's t that both rest on: at most one less than there are
            clusters, and fewer the more unequal they are. NaN for a single cluster.
        rows: how many.
        clusters: how many.
    """

    value: float
    interval: Interval
    p_value: float
    degrees_of_freedom: float
    rows: int
    clusters: int


def paired_difference(
    first: np.ndarray, second: np.ndarray, clusters: Sequence[str], confidence: float = 0.95
) -> PairedDifference:
    """Compare two means over the same rows.

    The variance is that of clusters, each residual enlarged by what the mean has taken of it (CR2),
    with the degrees of freedom that this estimate has where rows are alike (Bell & McCaffrey,
    Survey Methodology 2002). Two rows that differ as much as the most different one are added to
    it, so that an interval of no width never arises.

    Args:
        first: float (n,), finite, n at least 1.
        second: the same of the other.
        clusters: n names, the cluster of each row.
        confidence: between 0 and 1.

    Raises:
        ValueError: the rows do not fit together, or the confidence is out of range.
    """
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    rows = len(differences)
    if differences.ndim != 1 or not rows or rows != len(clusters):
        raise ValueError(
            f"Expected two values and a cluster a row, got {np.shape(first)}, {np.shape(second)} "
            f"and {len(clusters)} clusters."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"Expected a confidence between 0 and 1, got {confidence}.")
    names = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    cluster = np.array([names[name] for name in clusters])
    sizes = np.bincount(cluster).astype(np.float64)
    value = float(differences.mean())
    unknown = Interval(math.nan, math.nan)
    if len(names) == 1:
        return PairedDifference(value, unknown, math.nan, math.nan, rows, 1)
    shares = sizes / rows
    freedom = _degrees_of_freedom(shares)
    if not differences.any():
        return PairedDifference(value, unknown, 1.0, freedom, rows, len(names))
    residuals = np.bincount(cluster, differences) - value * sizes
    variance = float((residuals**2 / (1 - shares)).sum()) / rows**2
    variance += 2 * float(np.abs(differences).max()) ** 2 / rows**2
    error = math.sqrt(variance)
    half = float(special.stdtrit(freedom, 0.5 + confidence / 2)) * error
    p_value = 2 * float(special.stdtr(freedom, -abs(value) / error))
    interval = Interval(value - half, value + half)
    return PairedDifference(value, interval, min(1.0, p_value), freedom, rows, len(names))


def _degrees_of_freedom(shares: np.ndarray) -> float:
    """Satterthwaite's, for independent rows; ``len(shares) - 1`` if all shares are equal.

    The variance is a quadratic form of the clusters' residuals, and its mean and variance are
    known where rows are independent and alike.
    """
    weights = shares**2 / (1 - shares)
    return float(1 / ((shares**2).sum() + weights.sum() ** 2 - (weights**2).sum()))
