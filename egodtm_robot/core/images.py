"""Image preprocessing in torch: resize, center crop, normalize."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch.nn import functional

from egodtm_robot.core.errors import ConfigurationError

Interpolation = Literal["nearest", "bilinear", "bicubic"]

_FINEST_GRID = 1024


def resize(
    images: torch.Tensor, size: tuple[int, int], interpolation: Interpolation
) -> torch.Tensor:
    """Resize float images (N, 3, H, W) of range [0, 255] to (N, 3, *size).

    Antialiased, columns before rows, and rounded to whole gray levels after each, as the PIL
    resize that published models were trained behind: nearly all values are equal, the rest differ
    by a gray level. Images that have the size already pass unchanged.
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    if interpolation == "nearest":
        return functional.interpolate(images, size, mode="nearest-exact")
    for target in ((int(images.shape[-2]), size[1]), size):
        if tuple(images.shape[-2:]) != target:
            images = functional.interpolate(images, target, mode=interpolation, antialias=True)
            images = images.round_().clamp_(0, 255)
    return images


def center_crop(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Cut the central (N, 3, *size) out of images (N, 3, H, W); zeros where the image ends."""
    height, width = images.shape[-2:]
    missing_rows, missing_columns = max(0, size[0] - height), max(0, size[1] - width)
    if missing_rows or missing_columns:
        left, top = missing_columns // 2, missing_rows // 2
        images = functional.pad(images, (left, missing_columns - left, top, missing_rows - top))
        height, width = images.shape[-2:]
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return images[..., top : top + size[0], left : left + size[1]]


def central_squares(images: torch.Tensor, side: int) -> torch.Tensor:
    """The squares in the middle of images uint8 (N, H, W, 3), resized to (N, side, side, 3).

    Bilinear, as video models are evaluated: the shorter side is resized and the center is cut out.
    """
    if images.shape[1:3] == (side, side):
        return images
    shorter = min(images.shape[1:3])
    pixels = center_crop(to_channels_first(images), (shorter, shorter))
    resized = resize(pixels, (side, side), "bilinear")
    return resized.permute(0, 2, 3, 1).to(torch.uint8)


def to_channels_first(images: torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) of range [0, 255], in channels-last memory."""
    return images.permute(0, 3, 1, 2).float()


def pool_to_grid(feature_map: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Average a map (N, C, h, w) over a grid of cells -> tokens (N, rows * columns, C).

    Where the map is coarser than the grid its values repeat, so that maps of several strides can
    share one grid.
    """
    if tuple(feature_map.shape[-2:]) != tuple(grid):
        feature_map = functional.adaptive_avg_pool2d(feature_map, grid)
    return feature_map.flatten(2).transpose(1, 2)


def pair(value: Any) -> tuple[int, int]:
    """A grid or size given as one number for both axes or as two.

    Raises:
        ConfigurationError: it is neither, or a number lies outside of 1 to 1024.
    """
    found = (value, value) if isinstance(value, int) else value
    if (
        not isinstance(found, Sequence)
        or len(found) != 2
        or not all(isinstance(one, int) and 1 <= one <= _FINEST_GRID for one in found)
    ):
        raise ConfigurationError(
            "Expected a grid of one number for rows and columns, or of two, each from 1 to "
            f"{_FINEST_GRID}, got {value!r}."
        )
    return int(found[0]), int(found[1])
