"""Pictures of what a model sees: depth beside the truth, curves of a run."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

_NEAR_TO_FAR = np.array(
    [[253, 231, 37], [122, 209, 81], [34, 168, 132], [42, 120, 142], [65, 68, 135], [68, 1, 84]],
    np.float32,
)
"""Viridis, bright for near."""

_UNKNOWN = np.array([128, 128, 128], np.uint8)
_GAP = 4
_WIDTH, _HEIGHT, _MARGIN = 480, 240, 44


def color_depth(depth: np.ndarray) -> np.ndarray:
    """Color maps of depth in [0, 1], NaN for unknown: (..., h, w) -> uint8 (..., h, w, 3)."""
    places = np.linspace(0, 1, len(_NEAR_TO_FAR))
    filled = np.nan_to_num(depth, nan=0.0)
    channels = [np.interp(filled, places, _NEAR_TO_FAR[:, channel]) for channel in range(3)]
    colors = np.stack(channels, axis=-1).round().astype(np.uint8)
    return np.where(np.isnan(depth)[..., None], _UNKNOWN, colors)


def depth_sheet(
    frames: np.ndarray, truth: np.ndarray, prediction: np.ndarray, columns: int = 2
) -> np.ndarray:
    """Frame, true depth and predicted depth side by side, for one frame of n clips.

    Args:
        frames: uint8 (n, H, W, 3).
        truth: float (n, h, w) in [0, 1], NaN where not known.
        prediction: float (n, h, w) in [0, 1].
        columns: of the sheet.

    Returns:
        uint8 (rows * H, columns * 3 * W, 3) and gaps between. Cells of the maps are enlarged
        without smoothing, so that their grid is seen.
    """
    height, width = frames.shape[1:3]
    triples = []
    for frame, true, predicted in zip(frames, truth, prediction, strict=True):
        maps = [
            np.asarray(
                Image.fromarray(color_depth(one)).resize((width, height), Image.Resampling.NEAREST)
            )
            for one in (true, predicted)
        ]
        triples.append(np.concatenate([frame, *maps], axis=1))
    rows = -(-len(triples) // columns)
    sheet = np.full(
        (rows * (height + _GAP) - _GAP, columns * (3 * width + _GAP) - _GAP, 3), 255, np.uint8
    )
    for number, triple in enumerate(triples):
        top = number // columns * (height + _GAP)
        left = number % columns * (3 * width + _GAP)
        sheet[top : top + height, left : left + 3 * width] = triple
    return sheet


_BLUE = (31, 119, 180)
_FEW = 20


def curve_sheet(curves: Mapping[str, Sequence[tuple[float, float]]]) -> np.ndarray:
    """Curves below one another, each with its name and its ends: uint8 (n * 240, 480, 3).

    Args:
        curves: for each name points (step, value), in order; one without points is left out.
    """
    drawn = {name: points for name, points in curves.items() if points}
    image = Image.new("RGB", (_WIDTH, max(1, len(drawn)) * _HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    for number, (name, points) in enumerate(drawn.items()):
        top = number * _HEIGHT
        x, y = np.array(points, np.float64).T
        low, high = float(np.nanmin(y)), float(np.nanmax(y))
        across = (x - x[0]) / max(x[-1] - x[0], 1)
        up = (y - low) / max(high - low, 1e-12)
        frame = (_MARGIN, top + 24, _WIDTH - 12, top + _HEIGHT - 24)
        left = frame[0] + across * (frame[2] - frame[0])
        height = frame[3] - up * (frame[3] - frame[1])
        draw.rectangle(frame, outline=(200, 200, 200))
        line = [(float(a), float(b)) for a, b in zip(left, height, strict=True) if np.isfinite(b)]
        if len(line) > 1:
            draw.line(line, fill=_BLUE, width=2)
        if len(line) <= _FEW:  # a validation at the end alone is a point and no line
            for a, b in line:
                draw.circle((a, b), 3, fill=_BLUE)
        draw.text((frame[0], top + 6), f"{name}: {y[-1]:.4g} at step {x[-1]:.0f}", fill="black")
        draw.text((4, frame[1]), f"{high:.3g}", fill="black")
        draw.text((4, frame[3] - 10), f"{low:.3g}", fill="black")
    return np.asarray(image)
