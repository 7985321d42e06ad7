"""P-values of many comparisons at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Adjusted p-values by Holm's method.

    Whoever rejects those at most alpha rejects a true hypothesis in a family with a probability of
    at most alpha, whatever the dependence between the tests (Holm, Scandinavian Journal of
    Statistics 1979).

    Args:
        p_values: of each test, in [0, 1].

    Returns:
        float64, one for each test, in the same order, in [0, 1].

    Raises:
        ValueError: a p-value is not in [0, 1].
    """
    given = np.asarray(p_values, np.float64)
    if given.ndim != 1 or not ((given >= 0) & (given <= 1)).all():
        raise ValueError(f"Expected p-values in [0, 1], got {given}.")
    order = np.argsort(given, kind="stable")
    steps = given[order] * np.arange(len(given), 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(given) else steps
    return adjusted
