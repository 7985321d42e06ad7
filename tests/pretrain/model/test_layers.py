"""Attention by whichever kernel."""

import math

import pytest
import torch

from pretrain.model.layers import attention


def slow_attention(query, key, value, mask=None, causal=False):
    """The formula, with every weight written out."""
    weights = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
    seen = torch.ones(weights.shape[-2:], dtype=torch.bool) if mask is None else mask
    if causal:
        seen = seen & torch.ones_like(seen).tril()
    return weights.masked_fill(~seen, -math.inf).softmax(dim=-1) @ value


@pytest.mark.parametrize("keys", [9, 600])
@pytest.mark.parametrize("case", ["all", "mask", "causal"])
def test_attention_and_its_gradients_equal_the_formula(keys, case):
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, keys, 8)
    parts = [torch.randn(shape, generator=generator, requires_grad=True) for _ in range(3)]
    mask = None
    if case == "mask":
        mask = (torch.arange(keys) < torch.tensor([[keys // 2], [keys]]))[:, None, None]
    found = attention(*parts, mask, case == "causal")
    expected = slow_attention(*parts, mask, case == "causal")
    with torch.no_grad():
        unrecorded = attention(*parts, mask, case == "causal")
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(unrecorded, expected, atol=1e-5, rtol=1e-5)
    wanted = torch.randn(shape, generator=generator)
    for one, other in zip(
        torch.autograd.grad((found * wanted).sum(), parts),
        torch.autograd.grad((expected * wanted).sum(), parts),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
