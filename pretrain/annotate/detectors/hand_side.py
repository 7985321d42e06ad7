"""Which hand is the left one and which the right, from boxes and depth.

Of two hands in a frame the one farther left is the left hand: people rarely cross their arms. Of a
single hand the arm tells: it comes from the body, so that the left hand's lies to the left of the
hand. Where a detector finds the wrist, it says where the arm is. Otherwise the arm is what is as
near as the hand, or nearer, around its box. Without depth the hand's place in the image has to do.
What a frame says holds for the whole run of boxes that follow one another from frame to frame.
"""

import numpy as np

from pretrain.annotate.detectors.contact import cut_out, depth_unit
from pretrain.clips.clip import LEFT, NO_SIDE, RIGHT, DepthKind

APART = 0.15
"""Distance between two hands, share of the image, from which their order counts in full."""

LINK = 0.25
"""Farthest that a hand may move between frames and still be taken for the same, share of the
image."""

AROUND = 1.25
"""How far around a hand its arm is looked for, in widths and heights of its box from its middle."""

NEARER_M = 0.03
"""How much farther than the hand its arm may seem, meters."""

PLACE_WEIGHT = 0.5
"""What the place in the image counts for beside the arm."""

PLACE_BESIDE_WRIST = 3.0
"""The same beside the direction of the wrist, which bends: on 148 real hands this weight gives 92 %
right sides, place alone 80 %, the wrist alone 77 %."""


def assign_sides(
    frame: np.ndarray,
    xyxy: np.ndarray,
    score: np.ndarray,
    depth: np.ndarray | None = None,
    depth_kind: DepthKind | None = None,
    arm: np.ndarray | None = None,
) -> np.ndarray:
    """Sides of the hands of one clip.

    Args:
        frame: int (n,), the frame each is in.
        xyxy: float (n, 4), left, top, right, bottom as shares of the image.
        score: float (n,), how sure the detector is.
        depth: float (T, h, w), NaN where not known, or None.
        depth_kind: what the depth's numbers mean; None without depth.
        arm: float (n, 2), the way from each hand to its arm, of length 1, or 0 where it is not
            known; None where no detector tells it.

    Returns:
        int8 (n,), LEFT or RIGHT, each at most once a frame; NO_SIDE for the hands of a frame beyond
        the two that score highest: they are somebody else's.
    """
    side = np.zeros(len(frame), np.int8)
    frames = [int(number) for number in np.unique(frame)]
    own: dict[int, np.ndarray] = {}
    for number in frames:
        here = np.flatnonzero(frame == number)
        own[number] = here[np.argsort(-score[here], kind="stable")[:2]]
    center = (xyxy[:, :2].astype(np.float64) + xyxy[:, 2:]) / 2
    evidence = np.zeros(len(frame))
    unit = depth_unit(depth, depth_kind)
    for number in frames:
        here = own[number]
        still = None if depth is None else depth[number] / unit
        for index in here:
            evidence[index] = single_evidence(xyxy[index], still)
            if arm is not None and arm[index].any():
                evidence[index] = PLACE_BESIDE_WRIST * _place(xyxy[index]) + arm[index, 0]
        if len(here) == 2:
            a, b = here[np.argsort(center[here, 0], kind="stable")]
            apart = min(1.0, (center[b, 0] - center[a, 0]) / APART)
            evidence[a] = (1 - apart) * evidence[a] - 2 * apart
            evidence[b] = (1 - apart) * evidence[b] + 2 * apart
    for run in _runs(frames, own, center):
        evidence[run] = evidence[run].mean()
    for number in frames:
        here = own[number]
        if len(here) == 2:
            left_one = 0 if evidence[here[0]] < evidence[here[1]] else 1
            side[here[left_one]], side[here[1 - left_one]] = LEFT, RIGHT
        elif len(here):
            side[here[0]] = RIGHT if evidence[here[0]] > 0 else LEFT
    assert NO_SIDE == 0
    return side


def single_evidence(box: np.ndarray, depth: np.ndarray | None) -> float:
    """How much a hand looks like a right one (positive) or a left one (negative), within -1.5 to
    1.5.

    Args:
        box: float (4,), of the hand, shares of the image.
        depth: float (h, w) of the frame in meters, NaN where not known, or None.
    """
    center_x, center_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    place = _place(box)
    if depth is None:
        return place
    inside = cut_out(depth, box)
    inside = inside[np.isfinite(inside)]
    if not inside.size:
        return place
    limit = np.quantile(inside, 0.3) + NEARER_M
    height, width = depth.shape
    x = ((np.arange(width) + 0.5) / width - center_x) / max(box[2] - box[0], 1e-6)
    y = ((np.arange(height) + 0.5) / height - center_y) / max(box[3] - box[1], 1e-6)
    far_x, far_y = np.abs(x)[None], np.abs(y)[:, None]
    ring = (np.maximum(far_x, far_y) < AROUND) & (np.maximum(far_x, far_y) > 0.5)
    arm = ring & (depth < limit)
    if not arm.any():
        return place
    return place + float((arm * x[None]).sum() / arm.sum()) / AROUND


def _place(box: np.ndarray) -> float:
    """What the place in the image says, within -0.5 to 0.5."""
    return PLACE_WEIGHT * 2 * (float(box[0] + box[2]) / 2 - 0.5)


def _runs(frames: list[int], own: dict[int, np.ndarray], center: np.ndarray) -> list[np.ndarray]:
    """Hands that follow one another from frame to frame, nearest first."""
    runs: list[list[int]] = []
    for number in frames:
        free = [int(index) for index in own[number]]
        pairs = sorted(
            (float(np.linalg.norm(center[run[-1]] - center[index])), place, index)
            for place, run in enumerate(runs)
            for index in free
        )
        taken: set[int] = set()
        for distance, place, index in pairs:
            if distance <= LINK and index in free and place not in taken:
                runs[place].append(index)
                free.remove(index)
                taken.add(place)
        runs += [[index] for index in free]
    return [np.array(run) for run in runs]
