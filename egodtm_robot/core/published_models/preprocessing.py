"""What the processor files of published models ask for, in torch alone.

The processors of transformers need torchvision; what they do is little, and done here it runs on
the device of the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from egodtm_robot.core.images import Interpolation, center_crop, resize, to_channels_first

_INTERPOLATIONS: dict[int, Interpolation] = {
    0: "nearest",
    1: "bicubic",
    2: "bilinear",
    3: "bicubic",
}
"""By PIL's numbers. Torch has no Lanczos filter (1); bicubic is the nearest it has."""


@dataclass(frozen=True)
class Normalization:
    """From gray levels to a model's input.

    Attributes:
        rescale: factor from [0, 255] to the range that mean and std are meant for.
        mean: by color.
        std: by color.
    """

    rescale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_processor(cls, processor: Mapping[str, Any]) -> "Normalization":
        """Read the content of ``preprocessor_config.json``."""
        rescale = processor.get("do_rescale", True)
        normalize = processor.get("do_normalize", True)
        return cls(
            rescale=float(processor.get("rescale_factor", 1 / 255)) if rescale else 1.0,
            mean=tuple(processor.get("image_mean") or (0.5,) * 3) if normalize else (0.0,) * 3,
            std=tuple(processor.get("image_std") or (0.5,) * 3) if normalize else (1.0,) * 3,
        )

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Float (N, 3, H, W) of range [0, 255] -> normalized."""
        mean = torch.tensor(self.mean, device=pixels.device)[:, None, None]
        std = torch.tensor(self.std, device=pixels.device)[:, None, None]
        return (pixels * self.rescale - mean) / std


@dataclass(frozen=True)
class Preprocessing:
    """What a processor file asks for.

    Attributes:
        size: (height, width) to resize to; a single number is the length of the shorter side; None
            keeps the image's own.
        crop: (height, width) of the central cut after it, None for none.
        interpolation: of the resize.
        rescale: see :class:`Normalization`.
        mean: see :class:`Normalization`.
        std: see :class:`Normalization`.
    """

    size: tuple[int, ...] | None
    crop: tuple[int, int] | None
    interpolation: Interpolation
    rescale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Uint8 (N, H, W, 3) -> normalized float32 (N, 3, h, w)."""
        pixels = to_channels_first(images)
        if self.size is not None:
            height, width = pixels.shape[-2:]
            if len(self.size) == 1:
                factor = self.size[0] / min(height, width)
                # The shorter side exactly, the longer one cut to a whole number, as in PIL code.
                size = (
                    (self.size[0], int(width * factor))
                    if height <= width
                    else (int(height * factor), self.size[0])
                )
            else:
                size = (self.size[0], self.size[1])
            pixels = resize(pixels, size, self.interpolation)
        if self.crop is not None:
            pixels = center_crop(pixels, self.crop)
        return Normalization(self.rescale, self.mean, self.std)(pixels)

    @classmethod
    def from_processor(
        cls, processor: Mapping[str, Any], image_size: tuple[int, int], resolution: int | None
    ) -> "Preprocessing":
        """Read the content of ``preprocessor_config.json``.

        Args:
            processor: the file's content.
            image_size: of the model, where the file names no size.
            resolution: if given, the whole image is resized to a square of this side instead of
                what the file says about size and crop.
        """
        size: tuple[int, ...] | None
        crop = None
        if resolution is not None:
            size = (resolution, resolution)
        else:
            size = processor_size(processor.get("size", image_size))
            if not processor.get("do_resize", True):
                size = None
            if processor.get("do_center_crop", False):
                found = processor_size(processor.get("crop_size", image_size))
                crop = (found[0], found[-1])
        normalization = Normalization.from_processor(processor)
        return cls(
            size=size,
            crop=crop,
            interpolation=processor_interpolation(processor, "bilinear"),
            rescale=normalization.rescale,
            mean=normalization.mean,
            std=normalization.std,
        )


def processor_interpolation(processor: Mapping[str, Any], default: Interpolation) -> Interpolation:
    """The filter of the resize; ``default`` where the file names none that is known."""
    return _INTERPOLATIONS.get(processor.get("resample"), default)  # type: ignore[arg-type]


def processor_size(value: Any) -> tuple[int, ...]:
    """A size in any of the forms that processor files know: (height, width) or (shorter side,)."""
    if isinstance(value, Mapping):
        if "height" in value:
            return int(value["height"]), int(value["width"])
        return (int(value["shortest_edge"]),)
    if isinstance(value, (list, tuple)):
        return tuple(int(one) for one in value)
    return (int(value), int(value))
