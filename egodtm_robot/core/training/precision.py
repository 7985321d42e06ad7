"""Names of the precisions that the products inside a model are computed in."""

import sys
from typing import Literal

import torch

Precision = Literal["float32", "bf16", "fp16"]
"""``float32`` for everything, or a half precision for what torch's autocast lists as safe; weights
and moments stay in float32."""

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}

_CPU_INSTRUCTIONS = {
    "bf16": ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"),
    "fp16": ("avx512_fp16", "amx_fp16", "fp16_arith"),
}
"""Capabilities of a processor, as torch names them, of which one is enough."""


def half_precision(precision: Precision) -> torch.dtype | None:
    """The type that autocast computes in; None for ``float32``."""
    return _HALF.get(precision)


def mixed_precision(precision: Precision) -> str:
    """The name that accelerate has for a precision."""
    return precision if precision in _HALF else "no"


def emulated_on_cpu(precision: Precision) -> bool:
    """Whether this CPU lacks instructions for a half precision.

    Torch then emulates them: products of bfloat16 took 70 times as long as those of float32 on
    such a machine. False for ``float32``, and with a torch that can't tell.
    """
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if precision not in _CPU_INSTRUCTIONS or capabilities is None:
        return False
    has = capabilities()
    return not any(has.get(name, False) for name in _CPU_INSTRUCTIONS[precision])


def say_if_emulated(precision: Precision, device: torch.device) -> None:
    """Say on standard error that a training will be slow, where it will be for this reason."""
    if device.type == "cpu" and emulated_on_cpu(precision):
        print(
            f"This CPU has no instructions for training.precision={precision}, which will be many "
            "times slower than float32.",
            file=sys.stderr,
        )
