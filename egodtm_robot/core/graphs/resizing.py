"""Antialiased resizing as torch does it, in operators of ONNX.

ONNX has an antialiased ``Resize``, which adds in another order. Our preprocessing rounds to whole
gray levels behind it, as PIL does, so a last bit can become a gray level and that a feature that
differs in its third digit. What follows adds as torch's CPU kernel does: one neighbor after the
other, multiplying and adding in one rounding but for blocks of four, which its compiler vectorizes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
_BLOCK = 4
_FLOAT, _DOUBLE = 1, 11
"""What ONNX calls its types."""

ROWS, COLUMNS = 2, 3
"""Axes of images (N, 3, H, W)."""


def neighbors(size: int, target: int, mode: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each place of a resized axis is made of.

    Args:
        size: of the axis before.
        target: afterwards.
        mode: ``bilinear`` or ``bicubic``.

    Returns:
        int64 (K, target), the places that are read, one after the other; float32 (K, target), their
        weights, 0 beyond those that count; and bool (K, target), whether multiplying and adding
        round once.
    """
    # Each column of the identity is a place alone: what comes out of it is its weight, as torch
    # computes it.
    identity = torch.eye(size)[None, None]
    with torch.no_grad():
        weights = functional.interpolate(identity, (size, target), mode=mode, antialias=True)[0, 0]
    scale = np.float32(size) / np.float32(target)
    support = np.float32(_SUPPORT[mode]) * max(scale, np.float32(1))
    center = scale * (np.arange(target, dtype=np.float32) + np.float32(0.5))
    half = np.float32(0.5)
    first = np.maximum((center - support + half).astype(np.int64), 0)
    counts = np.minimum((center + support + half).astype(np.int64), size) - first
    order = np.arange(int(counts.max()))[:, None]
    places = np.minimum(first + order, size - 1)
    chosen = np.take_along_axis(weights.numpy(), places, axis=0)
    blocks = (counts - 1) // _BLOCK * _BLOCK
    return places, np.where(order < counts, chosen, 0).astype(np.float32), order > blocks


def translations() -> dict[Any, Callable[..., Any]]:
    """For the exporter: torch's antialiased resizing by its operator."""
    aten = torch.ops.aten
    return {
        aten._upsample_bicubic2d_aa.default: _bicubic,
        aten._upsample_bilinear2d_aa.default: _bilinear,
    }


def _bicubic(
    images: Any, output_size: Any, align_corners: bool, scales_h: Any = None, scales_w: Any = None
) -> Any:
    return _resized(images, output_size, "bicubic")


def _bilinear(
    images: Any, output_size: Any, align_corners: bool, scales_h: Any = None, scales_w: Any = None
) -> Any:
    return _resized(images, output_size, "bilinear")


def _resized(images: Any, output_size: Any, mode: str) -> Any:
    """Resize the two last axes; one at a time, as our preprocessing asks for it."""
    before = images.shape
    targets = [int(one) for one in output_size]
    for axis, target in ((COLUMNS, targets[1]), (ROWS, targets[0])):
        if int(before[axis]) != target:
            images = _resized_axis(images, axis, int(before[axis]), target, mode)
    return images


def operators() -> Any:
    """ONNX's operators of the opset that files are written in."""
    from onnxscript import opset18  # an extra, and slow to import

    return opset18


def _tensor(values: np.ndarray) -> Any:
    import onnx

    return onnx.numpy_helper.from_array(np.ascontiguousarray(values))


def _resized_axis(images: Any, axis: int, size: int, target: int, mode: str) -> Any:
    op = operators()
    shape = [1, 1, 1, 1]
    shape[axis] = target
    total = None
    for places, weights, once in zip(*neighbors(size, target, mode), strict=True):
        index: Any = op.Constant(value=_tensor(places))
        weight = op.Constant(value=_tensor(weights.reshape(shape)))
        pixels: Any = op.Gather(images, index, axis=axis)
        if total is None:
            total = op.Mul(pixels, weight)
            continue
        twice = op.Add(total, op.Mul(pixels, weight)) if not once.all() else None
        if once.any():
            # A product of two float32 is exact in float64, so that only the sum is rounded.
            exact = op.Mul(op.Cast(pixels, to=_DOUBLE), op.Cast(weight, to=_DOUBLE))
            fused = op.Cast(op.Add(exact, op.Cast(total, to=_DOUBLE)), to=_FLOAT)
            if twice is None:
                total = fused
            else:
                chosen: Any = op.Constant(value=_tensor(once.reshape(shape)))
                total = op.Where(chosen, fused, twice)
        else:
            total = twice
    return total
