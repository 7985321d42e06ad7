"""Frames as annotators' models want them, in torch alone.

The processors of transformers need torchvision; what they do is little, and done here it runs on
the device of the model.
"""

from dataclasses import dataclass

import torch

from egodtm_robot.core.images import Interpolation

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
