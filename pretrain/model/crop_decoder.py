"""The pixels of a crop from one token of the whole frame and a few of the crop's patches."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from egodtm_robot.core.errors import ConfigurationError
from pretrain.model.configuration import check_heads
from pretrain.model.initialization import plane_waves
from pretrain.model.layers import Transformer

BottleneckSource = Literal["class", "stem"]

_SUMMARY_CHANNELS = 16
"""Channels of a patch that the stem's grid is brought to before it becomes one token."""


@dataclass
class CropConfig:
    """How a crop of a frame is to be rebuilt from a token of the whole frame."""

    source: BottleneckSource = "stem"
    """What the token is made of: the ``class`` token behind the blocks, as published, or the
    features of the ``stem`` on their whole grid, through a linear map: for policies that see the
    stem."""

    masked: float = 0.9
    """Share of the crop's patches that are hidden and predicted."""

    smallest: float = 0.1
    """Least share of the frame's area that a crop has."""

    largest: float = 0.4
    """Largest share of it."""

    resolution: int = 64
    """Side that crops are resized to, pixels."""

    patch_size: int = 8
    """Side of the patches that are hidden, pixels; must divide the resolution."""

    width: int = 128
    """Channels of the token and of the decoder."""

    layers: int = 2
    """Blocks of the decoder."""

    heads: int = 4
    """Attention heads; must divide the width."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a number is out of range.
        """
        check_heads("crop decoder", self.width, self.heads)
        if self.patch_size < 1 or self.resolution % self.patch_size or self.layers < 1:
            raise ConfigurationError(
                "Expected a resolution of crops that is a multiple of their patch_size, and at "
                f"least one layer, got {self.resolution}, {self.patch_size} and {self.layers}."
            )
        if not 0 < self.smallest <= self.largest <= 1:
            raise ConfigurationError(
                "Expected 0 < smallest <= largest <= 1 for the area of crops, got "
                f"{self.smallest} and {self.largest}."
            )
        if not 0 < self.visible < self.grid**2 or self.width % 4:
            raise ConfigurationError(
                "Expected masked in (0, 1) that leaves at least one of the crop's "
                f"{self.grid**2} patches visible and one hidden, and a width that 4 divides, got "
                f"{self.masked} and {self.width}."
            )

    @property
    def grid(self) -> int:
        """Rows, and columns, of a crop's patches."""
        return self.resolution // self.patch_size

    @property
    def visible(self) -> int:
        """Patches of a crop that are shown."""
        return round((1 - self.masked) * self.grid**2)


class CropDecoder(nn.Module):
    """Predicts every patch of a crop.

    After ToBo (arXiv 2507.06543, github.com/naver-ai/tobo) and CroBo (arXiv 2603.13904): the token
    of the whole frame, the visible patches and mask tokens in the places of the hidden ones look at
    each other in a few blocks. There the visible patches go through the encoder as well; here they
    are a linear map of pixels, since a convolutional stem makes nothing of single patches.

    Args:
        config: sizes.
        channels: C of what the token is made of.
        patches: L, how many patches of it there are; 1 for a class token.
    """

    def __init__(self, config: CropConfig, channels: int, patches: int) -> None:
        super().__init__()
        self.config = config
        pixels = 3 * config.patch_size**2
        summary = channels if patches == 1 else _SUMMARY_CHANNELS
        self.narrow = nn.Identity() if patches == 1 else nn.Linear(channels, summary)
        self.squeeze = nn.Linear(summary * patches, config.width)
        self.embed = nn.Linear(pixels, config.width)
        self.mask_embedding = nn.Parameter(torch.empty(config.width))
        self.transformer = Transformer(
            config.width, config.layers, config.heads, 4 * config.width, "gelu", 1e-6, False
        )
        self.ln_post = nn.LayerNorm(config.width)
        self.predict = nn.Linear(config.width, pixels)

    def bottleneck(self, features: torch.Tensor) -> torch.Tensor:
        """The one token of the whole frame: (B, L, C) -> (B, W)."""
        normalized = functional.layer_norm(features, features.shape[-1:])
        token: torch.Tensor = self.squeeze(self.narrow(normalized).flatten(1))
        return token

    def forward(
        self, features: torch.Tensor, patches: torch.Tensor, visible: torch.Tensor
    ) -> torch.Tensor:
        """Predict patches.

        Args:
            features: (B, L, C) of the whole frame.
            patches: (B, P, V), all patches of the crop; those that are not visible are not read.
            visible: int64 (B, K), which are.

        Returns:
            (B, P, V).
        """
        width = self.config.width
        token = self.bottleneck(features)
        index = visible[..., None]
        shown = self.embed(patches.gather(1, index.expand(-1, -1, patches.shape[2])))
        places = self.mask_embedding.to(shown.dtype).expand(*patches.shape[:2], -1)
        places = places.scatter(1, index.expand(-1, -1, width), shown)
        places = places + plane_waves(self.config.grid, width).to(places)
        tokens = torch.cat([token[:, None].to(places.dtype), places], dim=1)
        predicted: torch.Tensor = self.predict(self.ln_post(self.transformer(tokens)))
        return predicted[:, 1:]
