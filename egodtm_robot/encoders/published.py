"""What encoders of published files share: images prepared as published, grid or global feature."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

import torch
from torch import nn

from egodtm_robot.core.errors import EncoderOptionError, UnknownNameError
from egodtm_robot.core.images import pair, pool_to_grid
from egodtm_robot.core.published_models.image_models import ImageModel
from egodtm_robot.encoders.base import ImageEncoder, Output

_OUTPUTS = get_args(Output)


class PublishedEncoder(ImageEncoder):
    """An image model whose weights its authors published as a file.

    Args:
        model: whose file it is.
        network: holds the file's tensors.
        side: of the images that the network was trained on, in pixels.
        stride: pixels between two cells of the network's map; ``resolution`` is a multiple of it.
        channels: of the map.
        embedding: numbers of the global feature.
        output: ``grid`` for the map's cells as tokens, ``class`` for the global feature.
        grid: rows and columns (one number for both) to which the map is averaged, None for its own.
            Of no effect on ``class``.
        resolution: if given, the whole image is resized to this side, without the published crop.
        batch_size: windows a forward pass; None takes 1 for large models on a CPU, else 8.
        history: frames a window.
        options: what else belongs to the fingerprint.
    """

    def __init__(
        self,
        model: ImageModel,
        network: nn.Module,
        side: int,
        stride: int,
        channels: int,
        embedding: int,
        output: Output,
        grid: int | Sequence[int] | None,
        resolution: int | None,
        batch_size: int | None,
        history: int = 1,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if output not in _OUTPUTS:
            raise UnknownNameError("output of the encoder", output, _OUTPUTS)
        if resolution is not None and resolution % stride:
            raise EncoderOptionError(
                f"Expected a resolution that is a multiple of {model.name}'s {stride} pixels a "
                f"token, got {resolution}."
            )
        self._preprocessing = model.preprocessing(side, resolution)
        self._output = output
        own = (resolution or side) // stride
        super().__init__(
            network=network,
            dimension=channels if output == "grid" else embedding,
            grid=None if output == "class" else (own, own) if grid is None else pair(grid),
            history=history,
            batch_size=batch_size,
            options={
                **(options or {}),
                "model": model.encoder,
                "preprocessing": asdict(self._preprocessing),
                "output": output,
            },
        )
        self.name = model.encoder

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Uint8 (b, T, H, W, 3) -> (b, L, D)."""
        pixels = self._preprocessing(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        features = self._features(pixels)
        return features[:, None] if self.grid is None else pool_to_grid(features, self.grid)

    @abstractmethod
    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalized (b, T, 3, h, w) -> the map (b, D, rows, columns) where there is a grid.

        Without one: the global feature (b, D).
        """
