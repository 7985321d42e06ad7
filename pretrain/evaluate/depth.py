"""Depth in the units of the truth, after the one scale and shift that a clip leaves open."""

from collections.abc import Iterable

import numpy as np
import torch

from pretrain.clips.dataset import ClipBatch
from pretrain.losses import depth_target

METRICS = ("delta1", "rmse", "absrel")

NEAREST = 1e-3
"""Aligned depth is at least so many metres: a ratio needs a positive number."""


def depth_scores(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Score a clip's predicted depth, up to scale and shift.

    Args:
        prediction: float (T, h, w), of any scale, near is small.
        truth: float (T, h, w), positive; NaN where not known.

    Returns:
        float64 (3,), see METRICS: the share of cells whose ratio to the truth, or its inverse, is
        below 1.25; the root of the mean squared error; the mean absolute error as a share of the
        truth. NaN if no depth is known.
    """
    known = np.isfinite(truth) & (truth > 0)
    if not known.any():
        return np.full(3, np.nan)
    wanted = truth[known].astype(np.float64)
    found = np.maximum(align(prediction[known].astype(np.float64), wanted), NEAREST)
    ratio = np.maximum(found / wanted, wanted / found)
    error = found - wanted
    return np.array(
        [
            (ratio < 1.25).mean(),
            np.sqrt((error**2).mean()),
            (np.abs(error) / wanted).mean(),
        ]
    )


def align(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Scale and shift of least squares, applied: float64 (n,), (n,) -> (n,)."""
    centred = prediction - prediction.mean()
    variance = (centred**2).mean()
    scale = (centred * (truth - truth.mean())).mean() / variance if variance > 1e-12 else 0.0
    return scale * centred + truth.mean()


def mean_map(batches: Iterable[ClipBatch], size: tuple[int, int]) -> np.ndarray:
    """The mean of all training targets, (h, w): what is known of depth without looking.

    Scored like a prediction, it says how much of a score the layout of such videos gives away.

    Args:
        batches: of training clips, with depth.
        size: (h, w) of the decoder's maps.
    """
    total, count = torch.zeros(size), torch.zeros(size)
    for batch in batches:
        assert batch.depth is not None
        target = depth_target(batch.depth, size)
        total += target.depth.sum(dim=(0, 1))
        count += target.valid.sum(dim=(0, 1))
    return (total / count.clamp(min=1)).numpy()
