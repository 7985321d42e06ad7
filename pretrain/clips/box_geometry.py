"""Boxes against boxes: how much they overlap, and which of many to keep."""

import numpy as np


def suppress(xyxy: np.ndarray, score: np.ndarray, most_overlap: float) -> np.ndarray:
    """Non-maximum suppression: of boxes that overlap more than that the surest stays.

    Args:
        xyxy: float (n, 4).
        score: float (n,).
        most_overlap: intersection over union up to which two boxes both stay.

    Returns:
        int64, the boxes that stay, the surest first.
    """
    order = np.argsort(-score, kind="stable")
    kept: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[intersection_over_union(xyxy[best][None], xyxy[order])[0] <= most_overlap]
    return np.array(kept, np.int64)


def intersection_over_union(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, 4), (m, 4) -> float64 (n, m)."""
    a, b = first[:, None].astype(np.float64), second[None].astype(np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.clip(sides, 0, None).prod(axis=-1)
    areas = [np.clip(one[..., 2:] - one[..., :2], 0, None).prod(axis=-1) for one in (a, b)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-12)


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Share of the smaller box that lies in the other: (n, 4), (m, 4) -> float64 (n, m)."""
    a, b = first[:, None].astype(np.float64), second[None].astype(np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.clip(sides, 0, None).prod(axis=-1)
    smaller = np.minimum((a[..., 2:] - a[..., :2]).prod(-1), (b[..., 2:] - b[..., :2]).prod(-1))
    return common / np.maximum(smaller, 1e-12)
