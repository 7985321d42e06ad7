"""Names of precisions."""

from typing import get_args

import pytest
import torch

from egodtm_robot.core.training.precision import Precision, half_precision, mixed_precision


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
