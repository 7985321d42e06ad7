"""How good depth is: the field's six numbers, after a stated alignment.

As Eigen et al. (NeurIPS 2014, arXiv 1406.2283) define them.
"""

from typing import Literal

import numpy as np

from pretrain.evaluate.depth import NEAREST, align

Alignment = Literal["scale_and_shift", "median", "none"]

ALIGNMENTS: dict[Alignment, str] = {
    "scale_and_shift": "one scale and one shift a frame, of least squares",
    "median": "one scale a frame, of the medians",
    "none": "none",
}
"""What is left open for each frame, in words."""

DEPTH_METRICS = ("delta1", "delta2", "delta3", "absrel", "rmse", "log_rmse")


def depth_accuracy(found: np.ndarray, truth: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Score the depth of one frame.

    Args:
        found: float (h, w), near is small; in the truth's unit where nothing is aligned.
        truth: float (h, w), positive; NaN where not known.
        alignment: what is adapted to the truth before, see ALIGNMENTS. Aligned depth is at least a
            millimeter, since a ratio needs a positive number.

    Returns:
        float64 (6,), see DEPTH_METRICS: the shares of cells whose ratio to the truth, or its
        inverse, is below 1.25, 1.25² and 1.25³; the mean absolute error as a share of the truth;
        the root mean squared error; and that of the natural logarithms. NaN if no depth is known.
    """
    known = np.isfinite(truth) & (truth > 0)
    if not known.any():
        return np.full(len(DEPTH_METRICS), np.nan)
    wanted = truth[known].astype(np.float64)
    values = found[known].astype(np.float64)
    if alignment == "scale_and_shift":
        values = align(values, wanted)
    elif alignment == "median":
        values = values * (np.median(wanted) / max(float(np.median(values)), NEAREST))
    values = np.maximum(values, NEAREST)
    ratio = np.maximum(values / wanted, wanted / values)
    error = values - wanted
    return np.array(
        [
            *((ratio < 1.25**power).mean() for power in (1, 2, 3)),
            (np.abs(error) / wanted).mean(),
            np.sqrt((error**2).mean()),
            np.sqrt((np.log(values / wanted) ** 2).mean()),
        ]
    )
