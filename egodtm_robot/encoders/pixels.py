"""A small gray picture as the feature: the control that every visual encoder has to beat."""

from typing import Annotated

import torch
from torch import nn
from torch.nn import functional

from egodtm_robot.core.configuration import Bounds, PositiveInt
from egodtm_robot.encoders.base import DEFAULT_BATCH_SIZE, ImageEncoder


class PixelEncoder(ImageEncoder):
    """Averages the image down to ``size`` x ``size`` gray values in [-1, 1].

    The picture is one token of size² channels, not a grid of one-channel tokens, so that pooling
    over tokens does not throw it away.

    Args:
        size: side of the small picture in pixels.
        batch_size: windows a forward pass.
    """

    kind = "pixels"

    def __init__(
        self,
        size: Annotated[int, Bounds(1, 256)] = 16,
        batch_size: PositiveInt = DEFAULT_BATCH_SIZE,
    ) -> None:
        super().__init__(
            network=nn.Identity(),
            dimension=size * size,
            batch_size=batch_size,
            options={"size": size, "weights_of_grey": [0.299, 0.587, 0.114]},
        )
        self.name = "pixels"
        self.size = size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Uint8 (b, 1, H, W, 3) -> (b, 1, size * size)."""
        weights = torch.tensor(self.options["weights_of_grey"], device=images.device)
        gray = images[:, 0].float() @ weights
        small = functional.adaptive_avg_pool2d(gray[:, None], (self.size, self.size))
        return small.flatten(2) / 127.5 - 1.0
