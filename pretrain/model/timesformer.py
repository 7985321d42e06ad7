"""TimeSformer: a video encoder whose blocks attend over time and over space one after the other.

Bertasius et al., "Is Space-Time Attention All You Need for Video Understanding?" (arXiv 2102.05095)
in the form of Bain et al., "Frozen in Time" (arXiv 2104.00650), which LaViLa, EgoVLP and EgoVLPv2
have trained. It differs from transformers' ``TimesformerModel``: the class token is one for the
whole clip and takes part in both steps, and what the step over space gives is added to what the
block got, not to what the step over time gave.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from egodtm_robot.core.errors import ModelInputError
from pretrain.model.configuration import Activation, check_heads
from pretrain.model.layers import FeedForward, attention, join_heads, split_heads

_PRE_NORM_EPS = 1e-5
"""Of the norm before the blocks, in every published model that has one."""


@dataclass(frozen=True)
class TimeSformerConfig:
    """Sizes and settings of a TimeSformer."""

    image_size: int = 224
    """Side in pixels of the square frames that it takes."""

    patch_size: int = 16
    """Side of a patch in pixels."""

    frames: int = 4
    """Most frames of a clip."""

    width: int = 768
    """Channels of a token."""

    layers: int = 12
    """Blocks."""

    heads: int = 12
    """Attention heads; must divide the width."""

    feed_forward: int = 3072
    """Hidden channels of the feed-forward part of a block."""

    activation: Activation = "gelu"
    """``quick_gelu`` where the weights come from OpenAI's CLIP (LaViLa), else ``gelu``."""

    norm_eps: float = 1e-6
    """Epsilon of the blocks' norms and of the last one."""

    pre_norm: bool = False
    """Whether there is a norm before the blocks, as in CLIP."""

    patch_bias: bool = True
    """Whether the map of patches adds a constant; CLIP's does not."""

    time_gate: bool = False
    """Whether what the step over time gives is scaled by the hyperbolic tangent of a weight."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """By color, of pixels in [0, 1]."""

    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """By color, of pixels in [0, 1]."""

    def __post_init__(self) -> None:
        check_heads("video encoder", self.width, self.heads)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        side = self.image_size // self.patch_size
        return side, side


class TimeSformer(nn.Module):
    """Frames to one class token and a token a patch. Parameters have their published names.

    The parameters have no values (meta device) until weights are loaded.

    Args:
        config: sizes and settings.
    """

    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        rows, columns = config.grid
        with torch.device("meta"):
            self.patch_embed = _PatchEmbedding(config)
            self.cls_token = nn.Parameter(torch.empty(1, 1, width))
            self.pos_embed = nn.Parameter(torch.empty(1, rows * columns + 1, width))
            self.temporal_embed = nn.Parameter(torch.empty(1, config.frames, width))
            self.ln_pre = nn.LayerNorm(width, eps=_PRE_NORM_EPS) if config.pre_norm else None
            self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
            self.norm = nn.LayerNorm(width, eps=config.norm_eps)

    def forward(
        self, frames: torch.Tensor, layer: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode clips.

        Args:
            frames: uint8 RGB (B, T, H, W, 3) of the configured side; T is at most the configured
                number of frames. Fewer have the times of the first ones, as published.
            layer: blocks behind which tokens are taken, from 1, each of mean 0 and deviation 1;
                None takes those behind the last, through the last norm.

        Returns:
            Class token (B, D) and patch tokens (B, T, L, D), row-major from the top left.

        Raises:
            ModelInputError: another shape or type.
        """
        tokens = self._embed(frames)
        count = frames.shape[1]
        for block in self.blocks[:layer]:
            tokens = block(tokens, count)
        if layer is None:
            tokens = self.norm(tokens)
        else:
            tokens = functional.layer_norm(tokens, tokens.shape[-1:])
        return tokens[:, 0], tokens[:, 1:].unflatten(1, (count, -1))

    def _embed(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 (B, T, H, W, 3) -> (B, 1 + T * L, D), what the first block gets."""
        config = self.config
        side = config.image_size
        if (
            frames.ndim != 5
            or frames.shape[2:] != (side, side, 3)
            or frames.dtype != torch.uint8
            or not 1 <= frames.shape[1] <= config.frames
        ):
            raise ModelInputError(
                f"Expected uint8 RGB clips (B, T, {side}, {side}, 3) of 1 to {config.frames} "
                f"frames, got {frames.dtype} of shape {tuple(frames.shape)}."
            )
        batch, count = frames.shape[:2]
        mean = torch.tensor(config.mean, device=frames.device)[:, None, None]
        std = torch.tensor(config.std, device=frames.device)[:, None, None]
        pixels = (frames.flatten(0, 1).permute(0, 3, 1, 2).float() / 255 - mean) / std
        patches = self.patch_embed(pixels).unflatten(0, (batch, count))  # (B, T, L, D)
        patches = patches + self.pos_embed[:, None, 1:] + self.temporal_embed[:, :count, None]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(batch, -1, -1)
        tokens = torch.cat([first, patches.flatten(1, 2)], dim=1)
        return tokens if self.ln_pre is None else self.ln_pre(tokens)


class _PatchEmbedding(nn.Module):
    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.proj = nn.Conv2d(3, config.width, size, stride=size, bias=config.patch_bias)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Float (N, 3, H, W) -> (N, L, D)."""
        patches: torch.Tensor = self.proj(pixels).flatten(2).transpose(1, 2)
        return patches


class _DividedAttention(nn.Module):
    """Attention of patches to those of their group and to the class token, which attends to all."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, frames: int, over_time: bool) -> torch.Tensor:
        """(B, 1 + T * L, D) -> (B, 1 + T * L, D).

        Args:
            tokens: class token first, then patches frame by frame.
            frames: T.
            over_time: whether a group is a place at all times, else all places of a frame.
        """
        parts = self.qkv(tokens).chunk(3, dim=-1)
        query, key, value = (split_heads(part, self.heads) for part in parts)
        first = attention(query[:, :, :1], key, value)

        def grouped(part: torch.Tensor) -> torch.Tensor:
            """(B, h, 1 + T * L, d) -> (B * groups, h, size, d), without the class token."""
            places = part[:, :, 1:].unflatten(2, (frames, -1))  # (B, h, T, L, d)
            order = (0, 3, 1, 2, 4) if over_time else (0, 2, 1, 3, 4)
            return places.permute(order).flatten(0, 1)

        def with_class(part: torch.Tensor) -> torch.Tensor:
            """The same with the clip's class token before each group."""
            groups = grouped(part)
            shared = part[:, :, :1].repeat_interleave(len(groups) // len(part), dim=0)
            return torch.cat([shared, groups], dim=2)

        rest = attention(grouped(query), with_class(key), with_class(value))
        rest = rest.unflatten(0, (len(tokens), -1))
        rest = rest.permute((0, 2, 3, 1, 4) if over_time else (0, 2, 1, 3, 4)).flatten(2, 3)
        return self.proj(join_heads(torch.cat([first, rest], dim=2)))


class _Block(nn.Module):
    """A step over time, one over space, and a feed-forward part, each behind a norm."""

    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__()
        width = config.width
        self.norm3 = nn.LayerNorm(width, eps=config.norm_eps)
        self.timeattn = _DividedAttention(width, config.heads)
        self.alpha_timeattn = nn.Parameter(torch.empty(())) if config.time_gate else None
        self.norm1 = nn.LayerNorm(width, eps=config.norm_eps)
        self.attn = _DividedAttention(width, config.heads)
        self.norm2 = nn.LayerNorm(width, eps=config.norm_eps)
        self.mlp = FeedForward(width, config.feed_forward, config.activation)

    def forward(self, tokens: torch.Tensor, frames: int) -> torch.Tensor:
        """(B, 1 + T * L, D) -> (B, 1 + T * L, D) of T frames."""
        over_time = self.timeattn(self.norm3(tokens), frames, over_time=True)
        if self.alpha_timeattn is not None:
            over_time = self.alpha_timeattn.tanh() * over_time
        over_space = self.attn(self.norm1(tokens + over_time), frames, over_time=False)
        # Added to what the block got: the step over time is seen through this one alone.
        tokens = tokens + over_space
        return tokens + self.mlp(self.norm2(tokens))
