"""Names of precisions."""

from typing import get_args

import pytest
import torch

from egodtm_robot.core.training.precision import (
    Precision,
    emulated_on_cpu,
    half_precision,
    mixed_precision,
)


@pytest.mark.parametrize(
    ("name", "kind", "accelerates"),
    [
        ("float32", None, "no"),
        ("bf16", torch.bfloat16, "bf16"),
        ("fp16", torch.float16, "fp16"),
    ],
)
def test_each_precision_has_its_type_and_accelerates_name(name, kind, accelerates):
    assert name in get_args(Precision)
    assert half_precision(name) is kind
    assert mixed_precision(name) == accelerates


@pytest.mark.parametrize(
    ("instructions", "emulated"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, {"bf16", "fp16"}),
        ({"avx512_bf16": True}, {"fp16"}),
        ({"amx_bf16": True, "avx512_fp16": True}, set()),
        ({"architecture": "aarch64", "bf16": True, "fp16_arith": True}, set()),
    ],
)
def test_a_half_precision_without_instructions_is_emulated(instructions, emulated, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    assert {name for name in get_args(Precision) if emulated_on_cpu(name)} == emulated


def test_an_older_torch_that_cannot_tell_is_believed(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not emulated_on_cpu("bf16")
