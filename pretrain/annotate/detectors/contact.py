"""Which hands touch which objects, from boxes, masks and depth.

With masks: a hand touches an object if pixels of the two lie side by side and are about equally
far; of several the one of which the largest part borders on it: a hand at a sink borders on more of
the sink than of the cup in it. With boxes alone: if the boxes overlap and what is in them is about
equally far; of several the one whose box is most like the hand's. Without depth the distance
does not count, and things that are merely behind a hand are taken for touched: precision falls
(docs/results/annotators.md has the figures).

A hand touches one object at most. Objects that no stage has found can't be touched.
"""

from dataclasses import replace

import numpy as np

from pretrain.clips.box_geometry import intersection_over_union, overlaps
from pretrain.clips.clip import HAND, Boxes, DepthKind

BORDER_TOLERANCE_M = 0.04
"""Largest step in depth between neighboring pixels of a hand and what it touches, meters."""

BOX_TOLERANCE_M = 0.15
"""Largest difference between the median depths of two boxes that touch, meters."""

SPREAD_M = 0.9
"""How far a relative depth's range, from its 2nd to its 98th hundredth, is taken to reach, meters:
what lies before the hands of somebody who works at a table."""

BORDER_PIXELS = 2
"""Fewest pixels of an object that must border on a hand."""

OVERLAP = 0.1
"""Smallest share of the smaller box that must lie in the other."""


def update_contact(
    boxes: Boxes,
    masks: np.ndarray | None,
    depth: np.ndarray | None,
    depth_kind: DepthKind | None,
) -> Boxes:
    """The same boxes with ``contact`` found again.

    Args:
        boxes: of one clip.
        masks: uint8 (T, h, w), track + 1; None where there are only boxes. Boxes of tracks without
            a pixel in their frame are compared by their boxes.
        depth: float32 (T, any size), NaN where not known, or None.
        depth_kind: what the depth's numbers mean; None without depth.
    """
    contact = np.zeros(len(boxes), bool)
    is_hand = np.array([name == HAND for name in boxes.category], bool)
    spread = depth_unit(depth, depth_kind)
    for frame in np.unique(boxes.frame):
        here = np.flatnonzero(boxes.frame == frame)
        hands, objects = here[is_hand[here]], here[~is_hand[here]]
        if not len(hands) or not len(objects):
            continue
        still = None if depth is None else depth[frame] / spread
        score = box_scores(boxes.xyxy[hands], boxes.xyxy[objects], still)
        if masks is not None:
            shown = [masks[frame] == boxes.track[index] + 1 for index in here]
            seen = {int(i): mask for i, mask in zip(here, shown, strict=True) if mask.any()}
            fitted = None if still is None else _fit(still, masks.shape[1:])
            for row, hand in enumerate(hands):
                for column, thing in enumerate(objects):
                    if int(hand) in seen and int(thing) in seen:
                        score[row, column] = mask_score(seen[int(hand)], seen[int(thing)], fitted)
        for row, hand in enumerate(hands):
            best = int(score[row].argmax())
            if score[row, best] > 0:
                contact[hand] = contact[objects[best]] = True
    return replace(boxes, contact=contact)


def depth_unit(depth: np.ndarray | None, kind: DepthKind | None) -> float:
    """What a meter is in a clip's depth: 1 for metric depth, an estimate for relative depth."""
    if depth is None or kind != "relative" or not np.isfinite(depth).any():
        return 1.0
    near, far = np.nanquantile(depth, [0.02, 0.98])
    return max(float(far - near), 1e-9) / SPREAD_M


def box_scores(hands: np.ndarray, objects: np.ndarray, depth: np.ndarray | None) -> np.ndarray:
    """How alike the boxes of hands and objects of a frame are where they may touch.

    Args:
        hands: float (n, 4), left, top, right, bottom as shares of the image.
        objects: float (m, 4).
        depth: float (h, w) in meters, NaN where not known, or None.

    Returns:
        float64 (n, m), intersection over union; 0 where they do not touch.
    """
    touches = overlaps(hands, objects) >= OVERLAP
    if depth is not None:
        far = np.array([_median_depth(depth, box) for box in (*hands, *objects)])
        step = np.abs(far[: len(hands), None] - far[None, len(hands) :])
        # Where depth is not known it speaks neither for nor against.
        touches &= ~(step > BOX_TOLERANCE_M)
    return np.where(touches, intersection_over_union(hands, objects), 0.0)


def mask_score(hand: np.ndarray, thing: np.ndarray, depth: np.ndarray | None) -> float:
    """Which share of a thing's pixels borders on a hand, 0 if the two do not touch.

    Args:
        hand: bool (h, w).
        thing: bool (h, w), of the same frame.
        depth: float (h, w) in meters, NaN where not known, or None.
    """
    border = np.zeros(hand.shape, bool)
    step = np.full(hand.shape, np.inf)
    for here, there in _NEIGHBORS:
        side_by_side = thing[here] & hand[there]
        border[here] |= side_by_side
        if depth is not None:
            difference = np.abs(depth[here] - depth[there])
            difference[~side_by_side | np.isnan(difference)] = np.inf
            step[here] = np.minimum(step[here], difference)
    pixels = int(border.sum())
    if pixels < BORDER_PIXELS:
        return 0.0
    if depth is not None and np.isfinite(step).any() and step.min() > BORDER_TOLERANCE_M:
        return 0.0
    return pixels / float(thing.sum())


def cut_out(values: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The part of a map (h, w) that a box of shares covers, at least one pixel."""
    height, width = values.shape
    left = min(int(box[0] * width), width - 1)
    top = min(int(box[1] * height), height - 1)
    right = max(left + 1, int(np.ceil(box[2] * width)))
    bottom = max(top + 1, int(np.ceil(box[3] * height)))
    return values[top:bottom, left:right]


def _median_depth(depth: np.ndarray, box: np.ndarray) -> float:
    known = cut_out(depth, box)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if known.size else float("nan")


def _fit(depth: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A map at the nearest pixels of another grid."""
    if depth.shape == shape:
        return depth
    rows = (np.arange(shape[0]) + 0.5) * depth.shape[0] / shape[0]
    columns = (np.arange(shape[1]) + 0.5) * depth.shape[1] / shape[1]
    return depth[rows.astype(int)[:, None], columns.astype(int)[None]]


def _neighbors() -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Slices of a map, and of the same map moved by a pixel, for each of the eight directions."""
    part = {-1: slice(1, None), 0: slice(None), 1: slice(None, -1)}
    return [
        ((part[down], part[right]), (part[-down], part[-right]))
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
        if down or right
    ]


_NEIGHBORS = _neighbors()
