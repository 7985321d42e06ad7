"""Blocks that the encoders and decoders share. Parameters have the names of published checkpoints.

Attention goes through torch's ``scaled_dot_product_attention``, see :func:`attention`.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

_FEW_KEYS = 128
"""Up to so many keys the matrix of attention weights is kept on a CPU."""


def quick_gelu(values: torch.Tensor) -> torch.Tensor:
    """The sigmoid approximation of GELU that OpenAI's CLIP was trained with."""
    return values * torch.sigmoid(1.702 * values)


def activation_function(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function of one of ``configuration.ACTIVATIONS``, or ``relu``."""
    if name == "quick_gelu":
        return quick_gelu
    return functional.relu if name == "relu" else functional.gelu


def split_heads(tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, L, D) -> (B, heads, L, D / heads)."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(tokens: torch.Tensor) -> torch.Tensor:
    """(B, heads, L, d) -> (B, L, heads * d)."""
    return tokens.transpose(1, 2).flatten(2)


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
    causal: bool = False,
) -> torch.Tensor:
    """Scaled dot-product attention, (B, heads, L, d) each, by the fastest kernel there is.

    Torch chooses, but for one case. Its fused kernel for CPUs takes several times as long as plain
    products for the gradients of short sequences (``benchmarks/model_step.py``), so that where
    gradients are wanted of at most 128 keys, plain products are taken; the matrix of weights, which
    fused kernels do not keep, is then small.
    """
    if query.device.type == "cpu" and key.shape[2] <= _FEW_KEYS and torch.is_grad_enabled():
        with sdpa_kernel(SDPBackend.MATH):
            return functional.scaled_dot_product_attention(
                query, key, value, mask, is_causal=causal
            )
    return functional.scaled_dot_product_attention(query, key, value, mask, is_causal=causal)


class SelfAttention(nn.Module):
    """Multi-head attention of tokens to each other.

    Args:
        width: channels of a token.
        heads: divides the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.Wqkv = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(
        self,
        tokens: torch.Tensor,
        mask: torch.Tensor | None = None,
        causal: bool = False,
        values: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, L, D) -> (B, L, D).

        Args:
            tokens: (B, L, D).
            mask: boolean, broadcast to (B, heads, L, L); True may be attended to.
            causal: whether a token sees only itself and those before it; not together with a mask.
            values: (B, L, D) that values are made of instead of ``tokens``.
        """
        query, key, value = self.Wqkv(tokens).chunk(3, dim=-1)
        if values is not None:
            value = self.Wqkv(values).chunk(3, dim=-1)[2]
        query, key, value = (split_heads(part, self.heads) for part in (query, key, value))
        attended = attention(query, key, value, mask, causal)
        return self.out_proj(join_heads(attended))


class CrossAttention(nn.Module):
    """Multi-head attention of queries to a memory, with the parameters of nn.MultiheadAttention.

    Args:
        width: channels of queries and memory.
        heads: divides the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, queries: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """(B, Q, D) and (B, L, D) -> (B, Q, D)."""
        width = queries.shape[-1]
        query = functional.linear(queries, self.in_proj_weight[:width], self.in_proj_bias[:width])
        key, value = functional.linear(
            memory, self.in_proj_weight[width:], self.in_proj_bias[width:]
        ).chunk(2, dim=-1)
        attended = attention(
            split_heads(query, self.heads),
            split_heads(key, self.heads),
            split_heads(value, self.heads),
        )
        return self.out_proj(join_heads(attended))


class FeedForward(nn.Module):
    """Two linear maps with an activation between them.

    Args:
        width: channels in and out.
        hidden: channels between.
        activation: see :func:`activation_function`.
    """

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.activation = activation_function(activation)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(self.activation(self.fc1(tokens)))


class Block(nn.Module):
    """A pre-norm transformer block.

    Args:
        width: channels of a token.
        heads: divides the width.
        hidden: channels inside the feed-forward part.
        activation: see :func:`activation_function`.
        eps: of the LayerNorms.
    """

    def __init__(self, width: int, heads: int, hidden: int, activation: str, eps: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        self.attn = SelfAttention(width, heads)
        self.ln_2 = nn.LayerNorm(width, eps=eps)
        self.mlp = FeedForward(width, hidden, activation)

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor | None = None, causal: bool = False
    ) -> torch.Tensor:
        """(B, L, D) -> (B, L, D); mask and causal as in :class:`SelfAttention`."""
        tokens = tokens + self.attn(self.ln_1(tokens), mask, causal)
        return tokens + self.mlp(self.ln_2(tokens))


class Transformer(nn.Module):
    """Blocks in a row.

    Args:
        width, heads, hidden, activation, eps: see :class:`Block`.
        layers: number of blocks.
        gradient_checkpointing: compute a block's activations again in the backward pass.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        hidden: int,
        activation: str,
        eps: float,
        gradient_checkpointing: bool,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        self.resblocks = nn.ModuleList(
            Block(width, heads, hidden, activation, eps) for _ in range(layers)
        )

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor | None = None, causal: bool = False
    ) -> torch.Tensor:
        """(B, L, D) -> (B, L, D); mask and causal as in :class:`SelfAttention`."""
        for block in self.resblocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                # Nothing here draws random numbers, so their state need not be kept.
                tokens = checkpoint(
                    block, tokens, mask, causal, use_reentrant=False, preserve_rng_state=False
                )
            else:
                tokens = block(tokens, mask, causal)
        return tokens
