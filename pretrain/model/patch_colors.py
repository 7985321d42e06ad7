"""The colors of a patch, shown to the blocks beside what the stem sees.

A stem that was taught to see through lights and paints (``objective=looks``) serves a policy, which
has no use for colors. Texts name them ("the grey jar"), and the blocks that meet the texts can have
them from here without anything changing in the stem.
"""

import torch
from torch import nn

from pretrain.model.stem import PATCH_SIZE

_CELLS = 4
"""Cells along a patch's side whose mean colors are shown: 4 x 4 pixels each."""

_MIDDLE, _SPREAD = 127.5, 64.0
"""About the mean and the deviation of a color's values."""


class PatchColors(nn.Module):
    """A linear map of the mean colors of a patch's cells. It begins at nothing.

    Args:
        width: channels of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, 3 * _CELLS**2))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 (B, T, H, W, 3) -> (B, T, L, width), sides multiples of PATCH_SIZE."""
        batch, count, height, width, colors = frames.shape
        rows, columns, side = height // PATCH_SIZE, width // PATCH_SIZE, PATCH_SIZE // _CELLS
        cells = frames.reshape(
            batch, count, rows, _CELLS, side, columns, _CELLS, side, colors
        ).float()
        means = (cells.mean((4, 7)) - _MIDDLE) / _SPREAD  # (B, T, rows, cell, columns, cell, color)
        means = means.permute(0, 1, 2, 4, 3, 5, 6).reshape(batch, count, rows * columns, -1)
        mapped: torch.Tensor = nn.functional.linear(means.to(self.weight.dtype), self.weight)
        return mapped
