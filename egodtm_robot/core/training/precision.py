"""Names of the precisions that the products inside a model are computed in."""

from typing import Literal

import torch

Precision = Literal["float32", "bf16", "fp16"]
"""``float32`` for everything, or a half precision for what torch's autocast lists as safe; weights
and moments stay in float32."""

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def half_precision(precision: Precision) -> torch.dtype | None:
    """The type that autocast computes in; None for ``float32``."""
    return _HALF.get(precision)


def mixed_precision(precision: Precision) -> str:
    """The name that accelerate has for a precision."""
    return precision if precision in _HALF else "no"
