"""Statistics of columns, as LeRobot's data sets hold them for every episode and as a whole.

Names and shapes are those of lerobot 0.6 (``lerobot/datasets/compute_stats.py``): minimum, maximum,
mean, standard deviation, count and five quantiles of each number of a row; of images of each color,
as (3, 1, 1) in [0, 1].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_IMAGES = 100
"""How many images of an episode are counted at most, evenly spread; lerobot takes as few."""

Statistics = dict[str, list[Any]]


def of_numbers(values: np.ndarray) -> Statistics:
    """Statistics of a column (T, ...) of numbers or truth values."""
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim == 1:
        rows = rows[:, None]
    return _of_rows(rows)


def of_images(frames: np.ndarray) -> Statistics:
    """Statistics of images, uint8 (T, H, W, 3)."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _IMAGES)).astype(int))
    pixels = frames[chosen].reshape(-1, 3).astype(np.float64) / 255.0
    found = _of_rows(pixels)
    shaped = {name: [[[value]] for value in values] for name, values in found.items()}
    return shaped | {"count": [len(chosen)]}


def together(parts: Sequence[Mapping[str, Sequence[Any]]]) -> Statistics:
    """Statistics of episodes as one: exact, but for quantiles, which lerobot averages too."""
    counts = np.array([part["count"][0] for part in parts], dtype=np.float64)
    shares = counts / counts.sum()
    stacked = {
        name: np.stack([np.asarray(part[name], dtype=np.float64) for part in parts])
        for name in parts[0]
        if name != "count"
    }
    means = stacked["mean"]
    mean = np.tensordot(shares, means, axes=1)
    spread = np.square(stacked["std"]) + np.square(means - mean)
    result = {
        "min": stacked["min"].min(axis=0),
        "max": stacked["max"].max(axis=0),
        "mean": mean,
        "std": np.sqrt(np.tensordot(shares, spread, axes=1)),
        **{name: np.tensordot(shares, stacked[name], axes=1) for name in _QUANTILES},
    }
    found: Statistics = {name: values.tolist() for name, values in result.items()}
    return found | {"count": [int(counts.sum())]}


def _of_rows(rows: np.ndarray) -> Statistics:
    found = {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
    }
    for name, share in _QUANTILES.items():
        found[name] = np.quantile(rows, share, axis=0)
    statistics: Statistics = {name: values.tolist() for name, values in found.items()}
    return statistics | {"count": [len(rows)]}
