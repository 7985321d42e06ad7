"""From a model's own features to those of another model, patch by patch."""

import torch
from torch import nn
from torch.nn import functional


class FeatureTranslator(nn.Module):
    """Three convolutions over the grid of patches: narrow or widen, look around, map.

    Small, so that what it can say must be in the features. After the translators of Theia
    (arXiv 2407.20179, github.com/bdaiinstitute/theia), which are convolutions too.

    Args:
        channels: C of the features.
        target_channels: D of the other model's.
        width: channels in between.
    """

    def __init__(self, channels: int, target_channels: int, width: int) -> None:
        super().__init__()
        self.channels = channels
        self.enter = nn.Conv2d(channels, width, 1)
        self.look = nn.Conv2d(width, width, 3, padding=1)
        self.leave = nn.Conv2d(width, target_channels, 1)

    def forward(self, features: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """(N, L, C) on a grid -> (N, L, D)."""
        normalized = functional.layer_norm(features, (self.channels,))
        maps = normalized.transpose(1, 2).unflatten(2, grid)
        maps = functional.gelu(self.look(functional.gelu(self.enter(maps))))
        translated: torch.Tensor = self.leave(maps)
        return translated.flatten(2).transpose(1, 2)
