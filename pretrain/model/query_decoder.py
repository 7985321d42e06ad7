"""What the decoders have in common: learned queries that read a memory, layer by layer."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import nn

from pretrain.model.layers import CrossAttention, FeedForward, SelfAttention


class CrossAttentionLayer(nn.Module):
    """Queries read the memory; post-norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.multihead_attn = CrossAttention(width, heads)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, queries: torch.Tensor, memory: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """(B, Q, D), (B, L, D) and (Q, D) -> (B, Q, D)."""
        return self.norm(queries + self.multihead_attn(queries + positions, memory))


class SelfAttentionLayer(nn.Module):
    """Queries read each other; post-norm.

    Args:
        width: channels of queries.
        heads: divides the width.
        positions_in_values: see :class:`pretrain.model.DepthDecoderConfig`.
    """

    def __init__(self, width: int, heads: int, positions_in_values: bool = True) -> None:
        super().__init__()
        self.positions_in_values = positions_in_values
        self.self_attn = SelfAttention(width, heads)
        self.norm = nn.LayerNorm(width)

    def forward(self, queries: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """(B, Q, D) and (Q, D) -> (B, Q, D)."""
        values = None if self.positions_in_values else queries
        return self.norm(queries + self.self_attn(queries + positions, values=values))


class FeedForwardLayer(nn.Module):
    """Each query by itself; post-norm."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.mlp = FeedForward(width, hidden, "relu")
        self.norm = nn.LayerNorm(width)

    def forward(self, queries: torch.Tensor) -> torch.Tensor:
        """(B, Q, D) -> (B, Q, D)."""
        return self.norm(queries + self.mlp(queries))


class MLP(nn.Module):
    """Linear maps with ReLU between them: ``widths[0]`` channels in, ``widths[-1]`` out."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(..., widths[0]) -> (..., widths[-1])."""
        for layer in self.layers[:-1]:
            values = layer(values).relu()
        return self.layers[-1](values)


class QueryDecoder(nn.Module):
    """Learned queries through layers of cross-attention, self-attention and feed-forward.

    Args:
        width: channels of queries and memory.
        layers: number of layers.
        heads: divides the width.
        hidden: channels inside the feed-forward part.
        queries: number of queries.
        positions_in_values: see :class:`pretrain.model.DepthDecoderConfig`.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        hidden: int,
        queries: int,
        positions_in_values: bool = True,
    ) -> None:
        super().__init__()
        self.query_feat = nn.Embedding(queries, width)
        self.query_embed = nn.Embedding(queries, width)
        self.transformer_cross_attention_layers = nn.ModuleList(
            CrossAttentionLayer(width, heads) for _ in range(layers)
        )
        self.transformer_self_attention_layers = nn.ModuleList(
            SelfAttentionLayer(width, heads, positions_in_values) for _ in range(layers)
        )
        self.transformer_ffn_layers = nn.ModuleList(
            FeedForwardLayer(width, hidden) for _ in range(layers)
        )
        self.decoder_norm = nn.LayerNorm(width)

    def layers(self) -> Iterator[tuple[nn.Module, nn.Module, nn.Module]]:
        """Cross-attention, self-attention and feed-forward of each layer."""
        return zip(
            self.transformer_cross_attention_layers,
            self.transformer_self_attention_layers,
            self.transformer_ffn_layers,
            strict=True,
        )
