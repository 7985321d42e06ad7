"""Depth of a pretrained model on real hands, beside a depth sensor's.

    python benchmarks/real_depth.py SAMPLES [--checkpoint egodtm_tiny] [--out FOLDER]

SAMPLES holds ``fphab/color/*.jpeg`` (1920 x 1080) and ``fphab/depth/*.png`` (640 x 480, 16 bit,
millimeters, of an Intel RealSense SR300), a sequence of First-Person Hand Action (Garcia-Hernando
et al., CVPR 2018, arXiv 1704.02463), and may hold ``ego4d_clips/*.mp4``, which have no depth and
are drawn alone. None of it is part of this project.

Color and depth come from two cameras: every depth pixel is carried over to the color image with
the data set's published calibration before anything is compared. Scores are those of pretraining:
one scale and one shift a clip, cells of the model's grid of which the sensor saw something, and
Spearman's rank correlation over the same cells.
"""

import argparse
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch
from PIL import Image

from pretrain.checkpoints import load_checkpoint
from pretrain.checkpoints.shipped import SHIPPED_NAME, named_checkpoint
from pretrain.evaluate.depth import METRICS, depth_scores
from pretrain.evaluate.plots import depth_sheet
from pretrain.model import EgoDTM

COLOR_FOCAL, COLOR_CENTER = (1395.749023, 1395.749268), (935.732544, 540.681030)
DEPTH_FOCAL, DEPTH_CENTER = (475.065948, 475.065857), (315.944855, 245.287079)
ROTATION = np.array(
    [
        [0.999988496304, -0.00468848412856, 0.000982563360594],
        [0.00469115935266, 0.999985218048, -0.00273845880292],
        [-0.000969709653873, 0.00274303671904, 0.99999576807],
    ]
)
TRANSLATION = np.array([25.7, 1.22, 3.902])
"""Of the depth camera's points, millimeters, to the color camera's."""

STRIDE = 2
"""Frames between those of a clip."""


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("samples", type=Path)
    parser.add_argument("--checkpoint", default=SHIPPED_NAME)
    parser.add_argument("--out", type=Path, default=Path("runs/real_depth"))
    options = parser.parse_args()
    model, _ = load_checkpoint(named_checkpoint(options.checkpoint))
    model.eval()
    options.out.mkdir(parents=True, exist_ok=True)
    clips, truths = sensor_clips(options.samples / "fphab", model)
    predictions = predict(model, clips)
    scores = np.array([depth_scores(*pair) for pair in zip(predictions, truths, strict=True)])
    flat = np.array(
        [depth_scores(np.broadcast_to(row_ramp(one.shape), one.shape), one) for one in truths]
    )
    ranks = [rank_correlation(*pair) for pair in zip(predictions, truths, strict=True)]
    known = np.isfinite(truths).mean()
    print(f"{len(clips)} clips with a sensor's depth, {known:.0%} of the cells known")
    for name, values in (("model", scores), ("depth by row alone", flat)):
        print(name, *(f"{n} {v:.3f}" for n, v in zip(METRICS, values.mean(axis=0), strict=True)))
    print(f"rank correlation {np.mean(ranks):.3f} (from {min(ranks):.3f} to {max(ranks):.3f})")
    shown = np.linspace(0, len(clips) - 1, 6).round().astype(int)
    middle = clips.shape[1] // 2
    save(clips[shown, middle], unit(truths[shown, middle]), predictions[shown, middle], options.out)
    videos = sorted((options.samples / "ego4d_clips").glob("*.mp4"))
    if videos:
        wild = np.concatenate([video_clips(path, model) for path in videos])
        found = predict(model, wild)[:, middle]
        save(wild[:, middle], np.full_like(found, np.nan), found, options.out, "videos.png")


def sensor_clips(folder: Path, model: EgoDTM) -> tuple[np.ndarray, np.ndarray]:
    """Clips uint8 (n, T, S, S, 3) and their depth in meters (n, T, h, w), NaN where not seen."""
    config = model.config
    side = config.vision.image_size
    cells = side // config.vision.patch_size * config.depth_decoder.upsampling
    frames, maps = [], []
    for color in sorted((folder / "color").glob("*.jpeg")):
        image = Image.open(color).convert("RGB")
        # The square in the middle, as training takes it.
        width, height = image.size
        left = (width - height) // 2
        square = image.crop((left, 0, left + height, height))
        frames.append(np.asarray(square.resize((side, side), Image.Resampling.BICUBIC)))
        number = color.stem.removeprefix("color_")
        depth = np.asarray(Image.open(folder / "depth" / f"depth_{number}.png"), np.float64)
        maps.append(register(depth, left, height, cells))
    frames_a_clip = config.vision.frames
    span = STRIDE * (frames_a_clip - 1) + 1
    starts = range(0, len(frames) - span + 1, STRIDE)
    picked = [range(start, start + span, STRIDE) for start in starts]
    return np.stack([[frames[i] for i in clip] for clip in picked]), np.stack(
        [[maps[i] for i in clip] for clip in picked]
    )


def register(depth: np.ndarray, left: int, side: int, cells: int) -> np.ndarray:
    """The median depth (cells, cells) in meters of what falls into each cell of a color crop.

    Args:
        depth: (h, w), millimeters, 0 where the sensor saw nothing.
        left: column of the color image at which its square crop begins.
        side: of the crop, pixels.
        cells: rows and columns of the grid.
    """
    v, u = np.nonzero(depth)
    z = depth[v, u]
    x = (u - DEPTH_CENTER[0]) / DEPTH_FOCAL[0] * z
    y = (v - DEPTH_CENTER[1]) / DEPTH_FOCAL[1] * z
    points = np.stack([x, y, z], axis=1) @ ROTATION.T + TRANSLATION
    column = points[:, 0] / points[:, 2] * COLOR_FOCAL[0] + COLOR_CENTER[0] - left
    row = points[:, 1] / points[:, 2] * COLOR_FOCAL[1] + COLOR_CENTER[1]
    where = np.stack([row, column]) * cells / side
    inside = (where >= 0).all(axis=0) & (where < cells).all(axis=0)
    index = where[:, inside].astype(int)
    flat = index[0] * cells + index[1]
    found = np.full(cells * cells, np.nan)
    values = points[inside, 2] / 1000
    for cell in np.unique(flat):
        found[cell] = np.median(values[flat == cell])
    return found.reshape(cells, cells)


def video_clips(path: Path, model: EgoDTM, count: int = 2) -> np.ndarray:
    """Clips uint8 (count, T, S, S, 3) spread over a video, four frames of one second each."""
    side, frames = model.config.vision.image_size, model.config.vision.frames
    every = max(1, round(imageio.immeta(path, plugin="FFMPEG")["fps"] / frames))
    images = []
    for number, frame in enumerate(imageio.imiter(path, plugin="FFMPEG")):
        if number % every == 0:
            image = Image.fromarray(frame)
            edge = min(image.size)
            left, top = (image.width - edge) // 2, (image.height - edge) // 2
            square = image.crop((left, top, left + edge, top + edge))
            images.append(np.asarray(square.resize((side, side), Image.Resampling.BICUBIC)))
    starts = np.linspace(0, len(images) - frames, count + 2).round().astype(int)[1:-1]
    return np.stack([images[start : start + frames] for start in starts])


@torch.no_grad()
def predict(model: EgoDTM, clips: np.ndarray) -> np.ndarray:
    """Depth (n, T, h, w) in [0, 1] of clips uint8 (n, T, S, S, 3)."""
    parts = []
    for part in torch.from_numpy(clips).split(8):
        depths = model(part, None, depth=True).depths
        parts.append(depths[-1].depth.numpy())
    return np.concatenate(parts)


def row_ramp(shape: tuple[int, ...]) -> np.ndarray:
    """Far above, near below: what a model knows that has never looked."""
    return np.linspace(1, 0, shape[-2])[:, None]


def rank_correlation(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Spearman's, over the cells that are known."""
    known = np.isfinite(truth)
    ranks = [np.argsort(np.argsort(values[known])) for values in (prediction, truth)]
    return float(np.corrcoef(*ranks)[0, 1])


def unit(depth: np.ndarray) -> np.ndarray:
    """Each map (n, h, w) between its own 1st and 99th percentile."""
    low, high = np.nanpercentile(depth, [1, 99], axis=(1, 2), keepdims=True)
    return np.clip((depth - low) / (high - low), 0, 1)


def save(
    frames: np.ndarray, truth: np.ndarray, found: np.ndarray, out: Path, name: str = "sensor.png"
) -> None:
    """Write frames, the sensor's depth and the model's as one picture."""
    Image.fromarray(depth_sheet(frames, truth, unit(found))).save(out / name)
    print(out / name)


if __name__ == "__main__":
    main()
