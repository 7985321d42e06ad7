"""What a token shows, read by one small map: classes, normals, and a place to be found again by.

Attached to the stem, its gradients need not come back through blocks that have not learned yet. It
serves training alone and is left out of exported checkpoints.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from egodtm_robot.core.errors import ConfigurationError
from pretrain.clips.dense import CLASSES

DenseSource = Literal["stem", "patches"]
"""The stem's tokens, before any patch has looked at another, or those behind the last block."""

DensePart = Literal["segmentation", "normals", "correspondence"]


@dataclass
class DenseHeadConfig:
    """A head on single tokens for dense truth; set by ``objective.dense``."""

    parts: list[DensePart] = field(default_factory=list)
    """What it predicts; nothing leaves the head out."""

    source: DenseSource = "stem"
    """Tokens that it reads."""

    hidden: int = 0
    """Hidden channels; 0 for a linear map, which makes the tokens themselves say it plainly."""

    cells: int = 4
    """Cells of the maps of classes and normals along a patch's side."""

    embedding: int = 64
    """Channels by which a point is found in another frame."""

    def __post_init__(self) -> None:
        if self.hidden < 0 or self.cells < 1 or self.embedding < 1:
            raise ConfigurationError(
                "Expected hidden >= 0, cells >= 1 and embedding >= 1 of the dense head, got "
                f"{self.hidden}, {self.cells} and {self.embedding}."
            )


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
        config: sizes.
        channels: of a token.
    """

    def __init__(self, config: DenseHeadConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        width = config.hidden or channels
        cells = config.cells**2
        self.hidden = nn.Linear(channels, config.hidden) if config.hidden else None
        self.segmentation = self._map(width, cells * len(CLASSES), "segmentation")
        self.normals = self._map(width, cells * 3, "normals")
        self.embedding = self._map(width, config.embedding, "correspondence")

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

    def _map(self, width: int, outputs: int, part: DensePart) -> nn.Linear | None:
        return nn.Linear(width, outputs) if part in self.config.parts else None

    def _unfold(self, values: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """(B, T, L, cells * cells * C) -> (B, T, rows * cells, columns * cells, C)."""
        cells = self.config.cells
        parts = values.float().unflatten(2, grid).unflatten(-1, (cells, cells, -1))
        return parts.permute(0, 1, 2, 4, 3, 5, 6).flatten(4, 5).flatten(2, 3)
