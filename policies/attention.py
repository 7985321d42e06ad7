"""Transformer layers whose dropout is drawn from a generator, so that a run resumes to the bit.

Layers normalize before attention and units (pre-norm), which trains without a warm-up of the
learning rate (Xiong et al., On Layer Normalization in the Transformer Architecture, 2020), or they
do not normalize at all (:attr:`TransformerConfig.norm`).
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.training.identity import ADDED_LATER


@dataclass
class TransformerConfig:
    """Size of a transformer; the default trains on a single core in about a minute."""

    width: int = 64
    """Numbers a token."""

    heads: int = 4
    """Heads of attention, a divisor of ``width``."""

    layers: int = 1
    """Layers over what is observed."""

    feedforward: int = 128
    """Units between the two linear maps of a layer."""

    norm: bool = field(default=True, metadata=ADDED_LATER)
    """Whether tokens are normalized in front of attention, units and the head. Shallow policies did
    better without (docs/results/policies.md); deep transformers need it to train."""

    dropout: float = field(default=0.0, metadata=ADDED_LATER)
    """Share of what each part of a layer adds that is left out in training, drawn again each step
    (Srivastava et al. 2014); 0.1 in ACT and in robomimic's transformer."""

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ConfigurationError(
                f"Expected policy.transformer.dropout >= 0 and below 1, got {self.dropout}."
            )
        for name in ("width", "heads", "layers", "feedforward"):
            if getattr(self, name) < 1:
                raise ConfigurationError(
                    f"Expected policy.transformer.{name} >= 1, got {getattr(self, name)}."
                )
        if self.width % self.heads or self.width % 4:
            raise ConfigurationError(
                "Expected policy.transformer.width to be a multiple of 4 and of "
                f"policy.transformer.heads = {self.heads}, got {self.width}."
            )


class Attention(nn.Module):
    """Multi-head attention of queries to a context.

    Keys have no bias: the softmax takes it off again.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, context: Tensor, present: Tensor | None = None) -> Tensor:
        """Gather from the context.

        Args:
            queries: (B, Q, W).
            context: (B, L, W).
            present: bool (B, L), which of the context may be seen; None for all.

        Returns:
            (B, Q, W).
        """
        split = (self.heads, -1)
        query, key, value = (
            layer(inputs).unflatten(2, split).transpose(1, 2)
            for layer, inputs in (
                (self.query, queries), (self.key, context), (self.value, context),
            )
        )  # fmt: skip
        mask = None if present is None else present[:, None, None, :]
        gathered = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(gathered.transpose(1, 2).flatten(2))


class TransformerLayer(nn.Module):
    """Attention among tokens, attention to a context where there is one, and a perceptron.

    Args:
        config: sizes.
        context: whether tokens also attend to a context.
    """

    def __init__(self, config: TransformerConfig, context: bool = False) -> None:
        super().__init__()
        width = config.width
        self.dropout = config.dropout
        self.own_norm = make_norm(config)
        self.own = Attention(width, config.heads)
        self.context_norm = make_norm(config) if context else None
        self.context = Attention(width, config.heads) if context else None
        self.units_norm = make_norm(config)
        self.units = nn.Sequential(
            nn.Linear(width, config.feedforward), nn.GELU(), nn.Linear(config.feedforward, width)
        )

    def forward(
        self,
        tokens: Tensor,
        context: Tensor | None = None,
        present: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Tokens to tokens.

        Args:
            tokens: (B, L, W).
            context: (B, M, W), where the layer was made with one.
            present: bool (B, L) hides some from all.
            generator: draws what is left out in training mode; None leaves nothing out.

        Returns:
            (B, L, W).
        """
        normed = self.own_norm(tokens)
        tokens = tokens + self._dropped(self.own(normed, normed, present), generator)
        if self.context is not None:
            assert self.context_norm is not None
            assert context is not None
            gathered = self.context(self.context_norm(tokens), context)
            tokens = tokens + self._dropped(gathered, generator)
        return tokens + self._dropped(self.units(self.units_norm(tokens)), generator)

    def _dropped(self, added: Tensor, generator: torch.Generator | None) -> Tensor:
        if not (self.dropout and self.training and generator is not None):
            return added
        kept = torch.rand(added.shape, generator=generator, device=added.device) >= self.dropout
        return added * kept / (1 - self.dropout)


class ActionHead(nn.Sequential):
    """From tokens (B, C, W) to standardized actions (B, C, A), near zero at the start."""

    def __init__(self, config: TransformerConfig, actions: int) -> None:
        last = nn.Linear(config.width, actions)
        with torch.no_grad():
            last.weight.mul_(0.01)
            last.bias.mul_(0.01)
        super().__init__(make_norm(config), last)


def make_norm(config: TransformerConfig) -> nn.Module:
    """What normalizes tokens (..., W), or passes them on."""
    return nn.LayerNorm(config.width) if config.norm else nn.Identity()


def sinusoids(positions: Tensor, width: int, longest: float) -> Tensor:
    """Sines and cosines of positions, in geometrically spaced periods.

    Vaswani et al., Attention Is All You Need, 2017.

    Args:
        positions: float (N,).
        width: an even number.
        longest: the longest period; the shortest is 2 pi.

    Returns:
        float32 (N, width).
    """
    half = width // 2
    rates = torch.exp(-math.log(longest / (2 * math.pi)) * torch.arange(half) / max(half - 1, 1))
    angles = positions[:, None].float() * rates.to(positions.device)
    return torch.cat((angles.sin(), angles.cos()), dim=1)


def grid_positions(rows: int, columns: int, width: int) -> Tensor:
    """Position of each cell of a grid, row-major: half of it tells the row, half the column.

    Returns:
        float32 (rows * columns, width); ``width`` is a multiple of 4.
    """
    row = sinusoids(torch.arange(rows).float(), width // 2, 100.0)
    column = sinusoids(torch.arange(columns).float(), width // 2, 100.0)
    return torch.cat((row.repeat_interleave(columns, 0), column.repeat(rows, 1)), dim=1)
