"""Which parts of a picture a model sees.

Published choices: short side to the model's size and the square in the middle (LaViLa 8002b5a
``eval_zeroshot.py``, AVION 31b00b6 ``scripts/main_lavila_pretrain.py``); the same by way of 256
pixels (EgoVLP 928406c ``data_loader/transforms.py``); the whole picture made square
(Chuhanxx/helping_hand_for_egocentric_videos 354a53e ``data_loader/transforms.py``,
``resize_wo_crop``); three squares along the long side (LaViLa, ``SpatialCrop`` for EGTEA Gaze+).
"""

import numpy as np
import torch
from torch.nn import functional

from pretrain.clips.augmentation import Crop, central_crop, crop_frames
from pretrain.evaluate.loader import LoaderConfig, Resampling


def main_crop(height: int, width: int, loader: LoaderConfig) -> Crop:
    """The part that stands for a picture where one alone is asked for, as with depth and boxes."""
    if loader.crop == "squash":
        return Crop(0, 0, height, width, (height, width))
    if loader.crop_share == 1:
        return central_crop(height, width)
    side = _side(height, width, loader)
    return Crop((height - side) // 2, (width - side) // 2, side, side, (height, width))


def all_crops(height: int, width: int, loader: LoaderConfig) -> list[Crop]:
    """All parts of a picture that are seen, each once: of a square one ``three`` may be one."""
    middle = main_crop(height, width, loader)
    if loader.crop in ("center", "squash"):
        return [middle]
    side, frame = middle.height, (height, width)
    down, across = height - side, width - side
    if loader.crop == "five":
        corners = [(0, 0), (0, across), (down, 0), (down, across)]
        places = [*corners, (middle.top, middle.left)]
    elif height > width:
        places = [(0, middle.left), (middle.top, middle.left), (down, middle.left)]
    else:
        places = [(middle.top, 0), (middle.top, middle.left), (middle.top, across)]
    return [Crop(top, left, side, side, frame) for top, left in dict.fromkeys(places)]


def show(frames: np.ndarray, crop: Crop, resolution: int, loader: LoaderConfig) -> torch.Tensor:
    """Cut and resize frames uint8 (T, H, W, 3) -> (T, resolution, resolution, 3)."""
    if loader.side is None and loader.resampling == "antialiased":
        return crop_frames(frames, crop, resolution)
    part = frames[:, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    pixels = torch.from_numpy(np.ascontiguousarray(part)).permute(0, 3, 1, 2)
    for side in filter(None, (loader.side, resolution)):
        pixels = _resized(pixels, side, loader.resampling)
    return pixels.permute(0, 2, 3, 1).contiguous()


def _resized(pixels: torch.Tensor, side: int, resampling: Resampling) -> torch.Tensor:
    """Uint8 (T, 3, H, W) -> (T, 3, side, side)."""
    if pixels.shape[2:] == (side, side):
        return pixels
    resized = functional.interpolate(
        pixels.float(),
        (side, side),
        mode="bicubic" if resampling == "bicubic" else "bilinear",
        antialias=resampling != "bilinear",
        align_corners=False,
    )
    return resized.round().clamp(0, 255).to(torch.uint8)


def _side(height: int, width: int, loader: LoaderConfig) -> int:
    return max(1, round(min(height, width) * loader.crop_share))
