"""Transformer layers leave parts out in training as a generator says, and never when they act."""

import pytest
import torch

from egodtm_robot.core.errors import ConfigurationError
from policies.attention import TransformerConfig, TransformerLayer


def make(dropout):
    torch.manual_seed(0)
    layer = TransformerLayer(TransformerConfig(8, 2, 1, 16, dropout=dropout), context=True)
    return layer.train()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


TOKENS = torch.randn(500, 3, 8, generator=seeded())
CONTEXT = torch.randn(500, 2, 8, generator=seeded(1))


def test_dropout_is_drawn_from_the_generator():
    layer = make(0.5)
    first, again = (layer(TOKENS, CONTEXT, generator=seeded(2)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, layer(TOKENS, CONTEXT, generator=seeded(3)))


def test_dropout_leaves_out_a_share_and_keeps_the_mean():
    layer = make(0.25)
    ones = torch.ones(1000, 8)
    dropped = layer._dropped(ones, seeded())
    assert (dropped == 0).float().mean() == pytest.approx(0.25, abs=0.02)
    assert dropped.mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("how", ["evaluation", "no generator", "no dropout"])
def test_nothing_is_left_out(how):
    layer = make(0.0 if how == "no dropout" else 0.5)
    plain = make(0.0)(TOKENS, CONTEXT)
    if how == "evaluation":
        layer.eval()
    generator = None if how == "no generator" else seeded()
    assert torch.equal(layer(TOKENS, CONTEXT, generator=generator), plain)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_share_that_leaves_nothing_is_refused(dropout):
    with pytest.raises(ConfigurationError, match=r"policy\.transformer\.dropout"):
        TransformerConfig(dropout=dropout)


@pytest.mark.parametrize("norm", [True, False])
def test_tokens_are_normalized_where_asked_for(norm):
    layer = TransformerLayer(TransformerConfig(8, 2, 1, 16, norm=norm), context=True)
    assert any(isinstance(part, torch.nn.LayerNorm) for part in layer.modules()) == norm
    assert any("norm" in name for name, _ in layer.named_parameters()) == norm
