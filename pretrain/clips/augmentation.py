"""What a training sample changes of a clip: a part of its frames, depth and boxes, other colors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from egodtm_robot.core.errors import ConfigurationError
from pretrain.clips.clip import Boxes
from pretrain.clips.dense import DenseKind

_SMALLEST_SHARE = 0.2
"""A box of which less lies within the crop is dropped."""

_GRAY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass
class AugmentationConfig:
    """Changes that leave true what the texts say, the same for all frames of a clip.

    There is no flip: it would make every "left" a lie. The defaults are mild, since synthetic rooms
    have colors enough: with twice as much a small network learned their depth more slowly.
    """

    smallest_crop: float = 0.8
    """Least share of the frame's area that a random crop keeps; 1 keeps the frame."""

    aspect: float = 1.2
    """Crops are up to so many times wider than high, or higher than wide, before resizing."""

    brightness: float = 0.15
    """All colors are multiplied by a factor within 1 +- this."""

    contrast: float = 0.15
    """Differences from the clip's mean gray are multiplied by a factor within 1 +- this."""

    saturation: float = 0.15
    """Differences from a pixel's own gray are multiplied by a factor within 1 +- this."""

    tint: float = 0.05
    """Each color is multiplied by a factor of its own within 1 +- this."""

    def __post_init__(self) -> None:
        if not 0 < self.smallest_crop <= 1 or not self.aspect >= 1:
            raise ConfigurationError(
                f"Expected smallest_crop in (0, 1] and aspect >= 1, got {self.smallest_crop} and "
                f"{self.aspect}."
            )
        for name in ("brightness", "contrast", "saturation", "tint"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigurationError(f"Expected {name} in [0, 1), got {getattr(self, name)}.")


@dataclass(frozen=True)
class Crop:
    """A part of a frame in whole pixels, and the frame's size."""

    top: int
    left: int
    height: int
    width: int
    frame: tuple[int, int]

    @property
    def shares(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom as shares of the frame."""
        height, width = self.frame
        return (
            self.left / width,
            self.top / height,
            (self.left + self.width) / width,
            (self.top + self.height) / height,
        )


def central_crop(height: int, width: int) -> Crop:
    """The largest square in the middle of a frame."""
    side = min(height, width)
    return Crop((height - side) // 2, (width - side) // 2, side, side, (height, width))


def random_crop(
    height: int, width: int, config: AugmentationConfig, random: np.random.Generator
) -> Crop:
    """A part of a frame of random area, aspect ratio and place."""
    area = height * width * random.uniform(config.smallest_crop, 1)
    aspect = math.exp(random.uniform(-1, 1) * math.log(config.aspect))
    # What does not fit is cut to the frame, so that a crop of the whole area is the whole frame.
    wide = min(width, max(1, round(math.sqrt(area * aspect))))
    high = min(height, max(1, round(math.sqrt(area / aspect))))
    top = int(random.integers(height - high + 1))
    left = int(random.integers(width - wide + 1))
    return Crop(top, left, high, wide, (height, width))


def crop_frames(frames: np.ndarray, crop: Crop, resolution: int) -> torch.Tensor:
    """Cut and resize frames uint8 (T, H, W, 3) -> (T, resolution, resolution, 3)."""
    part = frames[:, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    pixels = torch.from_numpy(np.ascontiguousarray(part))
    if part.shape[1:3] != (resolution, resolution):
        # A view in channels-last memory, for which torch has a fast path.
        pixels = functional.interpolate(
            pixels.permute(0, 3, 1, 2),
            (resolution, resolution),
            mode="bilinear",
            antialias=True,
            align_corners=False,
        ).permute(0, 2, 3, 1)
    return pixels.contiguous()


def crop_depth(
    depth: np.ndarray | None, crop: Crop, size: tuple[int, int], frames: int
) -> torch.Tensor:
    """Cut depth where the frames were cut, to the pixel's fraction, and bring it to a grid.

    A cell is the mean of what is known in it; it is known if at least half of it is.

    Args:
        depth: float32 (T, h, w), NaN where not known; None gives maps of NaN.
        crop: of the frames.
        size: rows and columns of the grid.
        frames: T.

    Returns:
        float32 (T, *size).
    """
    if depth is None:
        return torch.full((frames, *size), torch.nan)
    left, top, right, bottom = crop.shares
    rows, columns = depth.shape[1:]
    # Samples a cell has along each axis, so that none of the map's pixels is passed over.
    across = max(1, math.ceil((right - left) * columns / size[1]))
    down = max(1, math.ceil((bottom - top) * rows / size[0]))
    x = left + (right - left) * (torch.arange(size[1] * across) + 0.5) / (size[1] * across)
    y = top + (bottom - top) * (torch.arange(size[0] * down) + 0.5) / (size[0] * down)
    grid = torch.stack(torch.meshgrid(2 * y - 1, 2 * x - 1, indexing="ij")[::-1], dim=-1)
    values = torch.from_numpy(depth)
    known = ~values.isnan()
    layers = torch.stack([torch.where(known, values, 0.0), known.float()]).flatten(0, 1)
    sampled = functional.grid_sample(
        layers[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False
    )
    if across > 1 or down > 1:
        sampled = functional.avg_pool2d(sampled, (down, across))
    total, share = sampled[0].unflatten(0, (2, len(depth)))
    return torch.where(share >= 0.5, total / share.clamp(min=0.5), torch.nan)


def crop_tokens(tokens: np.ndarray, crop: Crop, size: tuple[int, int]) -> torch.Tensor:
    """Cut another model's tokens where the frames were cut, and bring them to a grid.

    Args:
        tokens: float32 (T, h, w, D) of the whole frame.
        crop: of the frames.
        size: rows and columns of the grid.

    Returns:
        float32 (T, rows * columns, D).
    """
    left, top, right, bottom = crop.shares
    x = left + (right - left) * (torch.arange(size[1]) + 0.5) / size[1]
    y = top + (bottom - top) * (torch.arange(size[0]) + 0.5) / size[0]
    grid = torch.stack(torch.meshgrid(2 * y - 1, 2 * x - 1, indexing="ij")[::-1], dim=-1)
    maps = torch.from_numpy(tokens).permute(0, 3, 1, 2)
    sampled = functional.grid_sample(
        maps, grid.expand(len(maps), -1, -1, -1), padding_mode="border", align_corners=False
    )
    return sampled.flatten(2).transpose(1, 2)


def crop_boxes(boxes: Boxes, crop: Crop) -> Boxes:
    """Boxes as shares of the crop; those that lie mostly outside are dropped."""
    left, top, right, bottom = crop.shares
    corner = np.array([left, top, left, top], np.float32)
    extent = np.array([right - left, bottom - top] * 2, np.float32)
    moved = (boxes.xyxy - corner) / extent
    inside = np.clip(moved, 0, 1)
    area = (inside[:, 2:] - inside[:, :2]).prod(axis=1)
    whole = (moved[:, 2:] - moved[:, :2]).prod(axis=1)
    kept = (area > 0) & (area >= _SMALLEST_SHARE * whole)
    chosen = boxes.select(kept)
    chosen.xyxy = inside[kept]
    return chosen


def crop_dense(
    truth: Mapping[DenseKind, np.ndarray],
    crop: Crop,
    cells: tuple[int, int],
    tokens: tuple[int, int],
) -> dict[str, torch.Tensor]:
    """Cut the truth of a clip where its frames were cut, and bring it to a model's grids.

    A cell gets what the map's pixel at its middle shows: neither classes nor corners can be
    averaged.

    Args:
        truth: of the clip, by kind.
        crop: of the frames.
        cells: rows and columns of segmentation and normals.
        tokens: rows and columns of points.

    Returns:
        ``segmentation`` uint8 (T, *cells), ``normals`` float32 (T, *cells, 3), and ``points``
        float32 (P, *tokens, 2) as shares of the crop, NaN where they leave it.
    """
    found: dict[str, torch.Tensor] = {}
    for kind, values in truth.items():
        rows, columns = values.shape[1:3]
        y, x = _middles(crop, tokens if kind == "points" else cells)
        row = np.minimum((y * rows).astype(int), rows - 1)
        column = np.minimum((x * columns).astype(int), columns - 1)
        taken = values[:, row[:, None], column]
        if kind == "points":
            # The pixel's middle lies beside that of the token; both move alike.
            beside = np.stack(
                np.meshgrid(x - (column + 0.5) / columns, y - (row + 0.5) / rows), axis=-1
            )
            left, top, right, bottom = crop.shares
            taken = (taken + beside - [left, top]) / [right - left, bottom - top]
            # Comparisons with NaN are false.
            inside = ((taken >= 0) & (taken <= 1)).all(axis=-1, keepdims=True)
            taken = np.where(inside, taken, np.nan).astype(np.float32)
        found[kind] = torch.from_numpy(np.ascontiguousarray(taken))
    return found


def _middles(crop: Crop, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Middles of a grid's rows and columns, as shares of the image."""
    left, top, right, bottom = crop.shares
    y = top + (bottom - top) * (np.arange(size[0]) + 0.5) / size[0]
    x = left + (right - left) * (np.arange(size[1]) + 0.5) / size[1]
    return y, x


def jitter(
    frames: np.ndarray, config: AugmentationConfig, random: np.random.Generator
) -> np.ndarray:
    """Change brightness, contrast, saturation and tint of a clip's frames uint8 (T, H, W, 3).

    All four are linear in the colors, so they are one 3 x 3 matrix and an offset.
    """
    amounts = (config.brightness, config.contrast, config.saturation)
    brightness, contrast, saturation = (1 + random.uniform(-a, a) for a in amounts)
    tint = 1 + random.uniform(-config.tint, config.tint, 3)
    if not any((*amounts, config.tint)):
        return frames
    gray = np.outer(np.ones(3), _GRAY)
    matrix = gray + saturation * (np.eye(3) - gray)
    matrix = brightness * np.diag(tint) @ matrix
    # The mean of every eighth row and column is the mean, near enough.
    mean = frames[:, ::8, ::8].reshape(-1, 3).mean(axis=0) @ matrix.T @ _GRAY
    matrix *= contrast
    offset = (1 - contrast) * mean
    changed = frames.reshape(-1, 3).astype(np.float32) @ matrix.T.astype(np.float32)
    changed += np.float32(offset + 0.5)
    np.clip(changed, 0, 255, out=changed)
    return changed.astype(np.uint8).reshape(frames.shape)
