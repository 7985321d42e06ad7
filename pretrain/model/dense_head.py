"""What a token shows, read by one small map: classes, normals, and a place to be found again by.

Attached to the stem, its gradients need not come back through blocks that have not learned yet. It
serves training alone: :mod:`pretrain.losses.heads` holds it beside the model.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from pretrain.clips.dense import CLASSES

DenseSource = Literal["stem", "patches"]
"""The stem's tokens, before any patch has looked at another, or those behind the last block."""

DensePart = Literal["segmentation", "normals", "correspondence"]


@dataclass
class DensePrediction:
    """What the head says; None for parts that it does not have.

    Attributes:
        segmentation: float32 (B, T, h, w, C), logits of classes.
        normals: float32 (B, T, h, w, 3), of any length.
        embeddings: float32 (B, T, rows, columns, E), of length 1.
    """

    segmentation: torch.Tensor | None
    normals: torch.Tensor | None
    embeddings: torch.Tensor | None


class DenseHead(nn.Module):
    """Tokens to maps.

    Args:
        parts: what it predicts.
        channels: of a token.
        hidden: hidden channels; 0 for a linear map, which makes the tokens say it plainly.
        cells: of the maps of classes and normals along a patch's side.
        embedding: channels by which a point is found in another frame.
    """

    def __init__(
        self,
        parts: Collection[DensePart],
        channels: int,
        hidden: int = 0,
        cells: int = 4,
        embedding: int = 64,
    ) -> None:
        super().__init__()
        self.cells = cells
        width = hidden or channels
        self.hidden = nn.Linear(channels, hidden) if hidden else None
        outputs: dict[DensePart, int] = {
            "segmentation": cells**2 * len(CLASSES),
            "normals": cells**2 * 3,
            "correspondence": embedding,
        }
        maps = {part: nn.Linear(width, outputs[part]) for part in outputs if part in parts}
        self.segmentation = maps.get("segmentation")
        self.normals = maps.get("normals")
        self.embedding = maps.get("correspondence")

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw small weights, in place.

        A head that says nothing at first leaves the tokens as they were, and random answers would
        tear at a stem that has learned.
        """
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=0.01, generator=generator)

    def forward(self, tokens: torch.Tensor, grid: tuple[int, int]) -> DensePrediction:
        """(B, T, L, D) on a grid of L -> maps."""
        values = tokens if self.hidden is None else functional.gelu(self.hidden(tokens))
        segmentation = normals = embeddings = None
        if self.segmentation is not None:
            segmentation = self._unfold(self.segmentation(values), grid)
        if self.normals is not None:
            normals = self._unfold(self.normals(values), grid)
        if self.embedding is not None:
            embedded = functional.normalize(self.embedding(values).float(), dim=-1)
            embeddings = embedded.unflatten(2, grid)
        return DensePrediction(segmentation, normals, embeddings)

    def _unfold(self, values: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """(B, T, L, cells * cells * C) -> (B, T, rows * cells, columns * cells, C)."""
        cells = self.cells
        parts = values.float().unflatten(2, grid).unflatten(-1, (cells, cells, -1))
        return parts.permute(0, 1, 2, 4, 3, 5, 6).flatten(4, 5).flatten(2, 3)
