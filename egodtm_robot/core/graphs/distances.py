"""Euclidean distances in operators of ONNX, which the exporter of torch does not have."""

from collections.abc import Callable
from typing import Any

import torch

from egodtm_robot.core.graphs.resizing import operators


def translations() -> dict[Any, Callable[..., Any]]:
    """For the exporter: ``torch.cdist`` by its operator."""
    return {torch.ops.aten._cdist_forward.default: _distances}


def _distances(left: Any, right: Any, p: float, compute_mode: Any = None) -> Any:
    """(..., B, F) and (..., N, F) to (..., B, N), by differences rather than products."""
    if p != 2:
        raise NotImplementedError(f"distances of order {p} have no translation")
    op = operators()
    difference = op.Sub(op.Unsqueeze(left, [-2]), op.Unsqueeze(right, [-3]))
    return op.Sqrt(op.ReduceSumSquare(difference, [-1], keepdims=0))
