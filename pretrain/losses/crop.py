"""A crop of a frame must be rebuilt from one token of the whole frame and a few patches.

After CroBo (arXiv 2603.13904), which cuts the crop from the same frame, and ToBo (2507.06543), in
which a later frame is rebuilt: what lies where has to be in the token, since almost nothing of the
crop is seen. Published: the class token as bottleneck, 90 to 95 % hidden, the error of pixels
normalized by patch, on hidden patches alone. Ours, for a model of a few million parameters on
frames of 128 pixels: the token may be made of the stem's grid, patches are of 8 pixels, the decoder
has two blocks, and of a clip the last frame is taken.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from pretrain.model.crop_decoder import CropConfig

_EPSILON = 1e-6
"""Added to the variance of a patch, as published."""


@dataclass(frozen=True)
class CropDraw:
    """Which parts of B frames are rebuilt, and what of them is seen.

    Attributes:
        boxes: float32 (B, 3), left, top and side of square crops as shares of the frame.
        visible: int64 (B, K), patches that are shown.
    """

    boxes: torch.Tensor
    visible: torch.Tensor


def draw_crops(count: int, config: CropConfig, random: np.random.Generator) -> CropDraw:
    """Draw crops and masks for so many frames."""
    sides = np.sqrt(random.uniform(config.smallest, config.largest, count))
    corners = random.uniform(size=(count, 2)) * (1 - sides)[:, None]
    boxes = np.concatenate([corners, sides[:, None]], axis=1).astype(np.float32)
    order = np.argsort(random.uniform(size=(count, config.grid**2)), axis=1)
    return CropDraw(torch.from_numpy(boxes), torch.from_numpy(order[:, : config.visible].copy()))


def crop_patches(frames: torch.Tensor, boxes: torch.Tensor, config: CropConfig) -> torch.Tensor:
    """Cut crops and split them: uint8 (B, H, W, 3) -> float32 (B, P, 3 * p * p), each patch of
    mean 0 and deviation 1.
    """
    side, size = config.resolution, config.patch_size
    steps = (torch.arange(side, device=frames.device) + 0.5) / side
    x = 2 * (boxes[:, :1] + boxes[:, 2:] * steps) - 1
    y = 2 * (boxes[:, 1:2] + boxes[:, 2:] * steps) - 1
    grid = torch.stack(
        [x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=-1
    )
    pixels = frames.permute(0, 3, 1, 2).float() / 255
    crops = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    patches = functional.unfold(crops, size, stride=size).transpose(1, 2)
    mean = patches.mean(-1, keepdim=True)
    variance = patches.var(-1, keepdim=True)
    return (patches - mean) / (variance + _EPSILON).sqrt()


def crop_loss(
    predicted: torch.Tensor, patches: torch.Tensor, visible: torch.Tensor
) -> torch.Tensor:
    """Mean squared error of hidden patches, (B, P, V) each; ``visible`` are int64 (B, K)."""
    errors = (predicted.float() - patches).square().mean(-1)
    hidden = torch.ones_like(errors).scatter(1, visible, 0.0)
    return (errors * hidden).sum() / hidden.sum()
