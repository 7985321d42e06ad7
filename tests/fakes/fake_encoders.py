"""Encoders that do not fit."""

import numpy as np
import torch
from torch import nn

from egodtm_robot.encoders.base import Encoder, ImageEncoder


class Liar(ImageEncoder):
    """Gives other tokens than it declares."""

    def __init__(self) -> None:
        super().__init__(nn.Identity(), dimension=3, grid=(2, 2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), 1, 3)


class Scattered(Encoder):
    """Gives tokens that lie on no grid."""

    def __init__(self) -> None:
        self.name = "scattered"
        self.source = "rgb"
        self.num_tokens = 4
        self.dimension = 3

    def encode(self, images: np.ndarray) -> np.ndarray:
        return np.zeros((len(images), 4, 3), np.float32)

    @property
    def fingerprint(self) -> str:
        return "0" * 16


class FramePair(ImageEncoder):
    """Two frames in, four tokens of two channels out: what is seen and how it has changed."""

    def __init__(self) -> None:
        super().__init__(nn.Identity(), dimension=2, grid=(2, 2), history=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        gray = images.float().mean(-1) / 255
        pooled = nn.functional.adaptive_avg_pool2d(gray, (2, 2)).flatten(2)
        return torch.stack([pooled[:, 1], pooled[:, 1] - pooled[:, 0]], dim=2)


class Stubborn(ImageEncoder):
    """Does what no exporter can record: it looks at values in Python."""

    def __init__(self) -> None:
        super().__init__(nn.Identity(), dimension=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[[float(image.max())]] for image in images.numpy()])
