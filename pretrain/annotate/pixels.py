"""Frames as annotators' models want them, in torch alone.

The processors of transformers need torchvision; what they do is little, and done here it runs on
the device of the model.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

Interpolation = Literal["bilinear", "bicubic"]

INTERPOLATIONS: dict[int, Interpolation] = {2: "bilinear", 3: "bicubic"}
"""By PIL's numbers, as processor files give them."""


@dataclass(frozen=True)
class Normalisation:
    """What becomes of grey levels.

    Attributes:
        rescale: factor from 0 to 255 to the range that mean and std are meant for.
        mean, std: by colour.
    """

    rescale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of_processor(cls, processor: dict) -> "Normalisation":
        """Read the content of ``preprocessor_config.json``."""
        rescale = processor.get("do_rescale", True)
        normalise = processor.get("do_normalize", True)
        return cls(
            rescale=float(processor.get("rescale_factor", 1 / 255)) if rescale else 1.0,
            mean=tuple(processor.get("image_mean") or (0.5,) * 3) if normalise else (0.0,) * 3,
            std=tuple(processor.get("image_std") or (0.5,) * 3) if normalise else (1.0,) * 3,
        )

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Float (N, 3, H, W) of range 0 to 255 -> normalised."""
        mean = torch.tensor(self.mean, device=pixels.device)[:, None, None]
        std = torch.tensor(self.std, device=pixels.device)[:, None, None]
        return (pixels * self.rescale - mean) / std


def to_channels_first(frames: torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) of range 0 to 255."""
    return frames.permute(0, 3, 1, 2).float()


def resize(
    pixels: torch.Tensor, size: tuple[int, int], interpolation: Interpolation
) -> torch.Tensor:
    """Resize float images (N, 3, H, W) of range 0 to 255 to (N, 3, *size), antialiased."""
    if tuple(pixels.shape[-2:]) == tuple(size):
        return pixels
    resized = functional.interpolate(pixels, size, mode=interpolation, antialias=True)
    return resized.clamp_(0, 255)
