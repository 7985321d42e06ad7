"""The two rules that make principal components unique: their signs and their scale."""

import numpy as np


def scaled_components(
    directions: np.ndarray, variances: np.ndarray, count: int | float = 1
) -> np.ndarray:
    """Components that project onto ``directions``, with their signs and their scale fixed.

    The largest entry of a direction is made positive, so that the same data give the same
    components. All directions are divided by one number, the root mean square of what they
    project to. Dividing each by its own deviation (whitening) would lift the noise of the last
    ones to the level of the first.

    Args:
        directions: float64 (D, K), of unit length, the most important first.
        variances: float64 (K,), ``count`` times the variance along each of them.
        count: what ``variances`` are divided by, where they are sums of squares.

    Returns:
        float64 (D, K), to be multiplied with centered data from the right.
    """
    largest = np.abs(directions).argmax(axis=0)
    oriented = directions * np.sign(directions[largest, np.arange(directions.shape[1])])
    return oriented / float(np.sqrt(max(variances.mean() / count, 1e-12)))
