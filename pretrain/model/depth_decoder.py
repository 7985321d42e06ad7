"""The 3D-aware decoder: depth of every frame from a few learned bins.

Depth is in [0, 1] of each map's own range (the losses say how targets are brought there). Bins
adapt to the clip: each query gives the width of its bin and, by comparison with a fine feature map,
where in the image the bin holds.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from egodtm_robot.core.errors import ModelInputError
from pretrain.model.configuration import DepthDecoderConfig
from pretrain.model.query_decoder import MLP, QueryDecoder

_SMALLEST_WIDTH = 0.1
"""Added to each bin's width before widths are brought to the sum of 1."""


@dataclass
class DepthPrediction:
    """What one layer of the decoder says.

    Attributes:
        depth: float32 (B, T, h, w) in [0, 1].
        centers: float32 (B, Q), the bins' centers, ascending in [0, 1].
    """

    depth: torch.Tensor
    centers: torch.Tensor


@dataclass
class DepthOutput:
    """What the decoder gives for a batch.

    Attributes:
        predictions: before the first layer and after each; the last is the result.
        mask_features: (B, T, C, h, w), the fine map that bins are compared with.
    """

    predictions: list[DepthPrediction]
    mask_features: torch.Tensor


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of maps (N, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) -> (N, C, h, w); a view in channels-last memory."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NormalizedConvolution(nn.Conv2d):
    """A convolution without bias, then :class:`ChannelNorm`."""

    def __init__(self, channels_in: int, channels_out: int, size: int) -> None:
        super().__init__(channels_in, channels_out, size, padding=size // 2, bias=False)
        self.norm = ChannelNorm(channels_out)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) -> (N, C', h, w)."""
        return self.norm(super().forward(maps))


class FeaturePyramid(nn.Module):
    """ViTDet's simple pyramid: a fine and a coarse map from one map of patches.

    Stages are named by the base-2 logarithm of their stride in pixels for patches of 16:
    ``simfp_2`` is four times finer than the patches, ``simfp_3`` twice, ``simfp_4`` as fine.
    """

    def __init__(self, width: int, fine_width: int, upsampling: int) -> None:
        super().__init__()
        steps = int(math.log2(upsampling))
        layers: list[nn.Module] = []
        channels = width
        for step in range(steps):
            if step:
                layers += [ChannelNorm(channels), nn.GELU()]
            layers.append(nn.ConvTranspose2d(channels, channels // 2, kernel_size=2, stride=2))
            channels //= 2
        layers += [
            NormalizedConvolution(channels, fine_width, 1),
            NormalizedConvolution(fine_width, fine_width, 3),
        ]
        self._fine = f"simfp_{4 - steps}"
        self.add_module(self._fine, nn.Sequential(*layers))
        self.simfp_4 = nn.Sequential(
            NormalizedConvolution(width, width, 1), NormalizedConvolution(width, width, 3)
        )

    def forward(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, C, h, w) -> fine (N, F, u * h, u * w) and coarse (N, C, h, w)."""
        return self.get_submodule(self._fine)(maps), self.simfp_4(maps)


class DepthQueryDecoder(QueryDecoder):
    """Queries of depth bins with their heads."""

    def __init__(self, config: DepthDecoderConfig) -> None:
        super().__init__(
            config.width,
            config.layers,
            config.heads,
            config.feed_forward,
            config.queries,
            config.positions_in_values,
        )
        self.class_embed = nn.Linear(config.width, 1)
        self.mask_embed = MLP(config.width, config.width, config.width, config.mask_width)

    def forward(self, memory: torch.Tensor, mask_features: torch.Tensor) -> list[DepthPrediction]:
        """(B, T * L, D) and (B, T, C, h, w) -> predictions, see :class:`DepthOutput`."""
        positions = self.query_embed.weight
        queries = self.query_feat.weight.expand(len(memory), -1, -1)
        predictions = [self._predict(queries, mask_features)]
        for cross_attention, self_attention, feed_forward in self.layers():
            queries = cross_attention(queries, memory, positions)
            queries = feed_forward(self_attention(queries, positions))
            predictions.append(self._predict(queries, mask_features))
        return predictions

    def _predict(self, queries: torch.Tensor, mask_features: torch.Tensor) -> DepthPrediction:
        queries = self.decoder_norm(queries)
        centers = bin_centers(self.class_embed(queries)[..., 0].float())
        masks = torch.einsum("bqc,btchw->bqthw", self.mask_embed(queries), mask_features)
        # No matrix product, because autocast would take it to half precision.
        depth = (masks.float().softmax(dim=1) * centers[..., None, None, None]).sum(dim=1)
        return DepthPrediction(depth, centers)


class DepthDecoder(nn.Module):
    """Patch tokens of a clip to the depth of its frames.

    Args:
        config: sizes.
        channels: of a patch token.
    """

    def __init__(self, config: DepthDecoderConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        self.input_proj = nn.Linear(channels, config.width)
        self.fpn = FeaturePyramid(config.width, config.mask_width, config.upsampling)
        self.mask_features = nn.Conv2d(config.mask_width, config.mask_width, kernel_size=1)
        self.decoder = DepthQueryDecoder(config)

    def forward(
        self, patch_tokens: torch.Tensor, grid: tuple[int, int] | None = None
    ) -> DepthOutput:
        """Decode.

        Args:
            patch_tokens: (B, T, L, D), row-major.
            grid: rows and columns of L; a square by default.

        Raises:
            ModelInputError: L is not rows times columns.
        """
        batch, frames, count = patch_tokens.shape[:3]
        if grid is None:
            grid = (math.isqrt(count), math.isqrt(count))
        if grid[0] * grid[1] != count:
            raise ModelInputError(
                f"Expected {count} patches a frame to lie on their grid, got {grid[0]} rows and "
                f"{grid[1]} columns."
            )
        tokens = self.input_proj(patch_tokens).flatten(0, 1)
        # A view in channels-last memory, which convolutions on a CPU prefer.
        maps = tokens.unflatten(1, grid).permute(0, 3, 1, 2)
        fine, coarse = self.fpn(maps)
        mask_features = self.mask_features(fine).unflatten(0, (batch, frames))
        memory = coarse.flatten(2).transpose(1, 2).unflatten(0, (batch, frames)).flatten(1, 2)
        return DepthOutput(self.decoder(memory, mask_features), mask_features)


def bin_centers(logits: torch.Tensor) -> torch.Tensor:
    """Centers (B, Q) of bins that divide [0, 1] in order, from logits (B, Q) of their widths."""
    widths = functional.relu(logits) + _SMALLEST_WIDTH
    widths = widths / widths.sum(dim=1, keepdim=True)
    upper = widths.cumsum(dim=1)
    return upper - widths / 2
