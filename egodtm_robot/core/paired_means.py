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

from egodtm_robot.core.clustered_means import PSEUDO_ROWS, clustered_interval, clustered_mean
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

    The variance is that of :func:`egodtm_robot.core.clustered_means.clustered_mean`. Two rows that
    differ as much as the most different one are added to it, so that an interval of no width never
    arises.

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
    mean = clustered_mean(differences, clusters)
    unknown = Interval(math.nan, math.nan)
    freedom, number = mean.degrees_of_freedom, mean.clusters
    if number == 1:
        return PairedDifference(mean.value, unknown, math.nan, math.nan, rows, 1)
    if not differences.any():
        return PairedDifference(mean.value, unknown, 1.0, freedom, rows, number)
    spread = float(np.abs(differences).max())
    error = math.sqrt(mean.variance + PSEUDO_ROWS * spread**2 / rows**2)
    p_value = min(1.0, 2 * float(special.stdtr(freedom, -abs(mean.value) / error)))
    interval = clustered_interval(mean, spread=spread, confidence=confidence)
    return PairedDifference(mean.value, interval, p_value, freedom, rows, number)
