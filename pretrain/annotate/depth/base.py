"""What annotators of depth share: the grid of stored maps, and depth from disparity.

Stored depth grows with the distance. Models trained on mixed data (MiDaS, DPT, Depth Anything)
predict disparity instead: a * 1 / depth + b with a and b not known, large where it is near. It is
turned round here in one of two ways:

``reciprocal``
    depth = 1 / (near_share + (1 - near_share) * d), with d the clip's disparity brought to [0, 1]:
    depth up to a scale where the nearest point of a clip is ``near_share`` times as far as its
    farthest.
``flip``
    depth = 1 - d: the order alone. What is far is squeezed together as in disparity.

Which comes nearer to true depth is measured by ``benchmarks/detectors.py``
(docs/results/annotators.md).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch.nn import functional

from egodtm_robot.core.errors import UnknownNameError
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.annotate.stage import AnnotationFailure, Stage
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.clip import DepthKind

Inversion = Literal["reciprocal", "flip"]

INVERSIONS: tuple[str, ...] = get_args(Inversion)

DEFAULT_SIZE = 56
"""Rows and columns of a training map for 224 pixels: a quarter of the frames' side."""

LOWEST, HIGHEST = 0.01, 0.99
"""Quantiles of a clip's disparity that become 0 and 1: one pixel must not squeeze all others."""


class DepthAnnotator(ABC):
    """Base of annotators of depth: a subclass defines :meth:`predict`.

    Args:
        name: for tables and cards.
        fingerprint: of everything that the maps depend on, ``size`` apart.
        size: rows and columns of the maps.
        batch_size: clips handed over at once. Each is predicted by itself, so that its depth does
            not depend on its neighbors.

    Raises:
        AnnotatorOptionError: size or batch_size is below 1.
    """

    stage: Stage = "depth"

    def __init__(self, name: str, fingerprint: str, size: int, batch_size: int) -> None:
        if size < 1 or batch_size < 1:
            raise AnnotatorOptionError(
                f"Expected size and batch_size of at least 1, got {size} and {batch_size}."
            )
        self.name = name
        self.fingerprint = fingerprint
        self.size = size
        self.batch_size = batch_size

    @abstractmethod
    def predict(self, clip: AnnotatedClip) -> tuple[np.ndarray, DepthKind] | AnnotationFailure:
        """Depth float32 (T, any height, any width) of a clip, near is small, and its kind."""

    def annotate(
        self, clips: Sequence[AnnotatedClip]
    ) -> list[Mapping[str, Any] | AnnotationFailure]:
        """``depth`` float32 (T, size, size) and ``depth_kind`` of each clip."""
        results: list[Mapping[str, Any] | AnnotationFailure] = []
        for clip in clips:
            found = self.predict(clip)
            if isinstance(found, AnnotationFailure):
                results.append(found)
                continue
            depth, kind = found
            if not np.isfinite(depth).any():
                results.append(AnnotationFailure(f"{self.name} gave no finite depth at any pixel."))
                continue
            results.append({"depth": to_grid(depth, self.size), "depth_kind": kind})
        return results


def to_grid(depth: np.ndarray, size: int) -> np.ndarray:
    """Bring maps to the stored grid: a cell is the mean of what is known in it.

    Args:
        depth: float (T, H, W); what is not finite, or below 0, is not known.
        size: rows and columns of the result.

    Returns:
        float32 (T, size, size), NaN in cells of which less than half is known.
    """
    values = torch.from_numpy(np.asarray(depth, np.float32))
    known = values.isfinite() & (values >= 0)
    total = functional.adaptive_avg_pool2d(torch.where(known, values, 0.0), size)
    share = functional.adaptive_avg_pool2d(known.float(), size)
    return torch.where(share >= 0.5, total / share.clamp(min=0.5), torch.nan).numpy()


def depth_from_disparity(
    disparity: np.ndarray, inversion: Inversion = "reciprocal", near_share: float = 0.15
) -> np.ndarray:
    """Turn disparity of unknown scale and shift round, see the module's text.

    All frames of a clip share one scale and shift, so that motion towards the camera stays visible.

    Args:
        disparity: float (T, h, w), near is large; what is not finite is not known.
        inversion: one of INVERSIONS.
        near_share: distance of the nearest point as a share of the farthest's, for ``reciprocal``.

    Returns:
        float32 (T, h, w) within [0, 1], near is small, NaN where not known.

    Raises:
        UnknownNameError: there is no such inversion.
        AnnotatorOptionError: near_share is not between 0 and 1.
    """
    if inversion not in INVERSIONS:
        raise UnknownNameError("inversion of disparity", inversion, INVERSIONS)
    if not 0 < near_share < 1:
        raise AnnotatorOptionError(f"Expected near_share between 0 and 1, got {near_share}.")
    values = np.where(np.isfinite(disparity), disparity, np.nan).astype(np.float64)
    if np.isnan(values).all():
        return values.astype(np.float32)
    low, high = np.nanquantile(values, [LOWEST, HIGHEST])
    # A flat map has no order to keep: all of it is equally far.
    unit = np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0)
    depth = 1 - unit if inversion == "flip" else near_share / (near_share + (1 - near_share) * unit)
    return depth.astype(np.float32)
