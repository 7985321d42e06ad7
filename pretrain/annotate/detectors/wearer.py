"""Which boxes of a detector are hands of the camera's wearer.

A detector of hands also fires on heads, dials, dough and feet, and it finds the hands of the people
opposite. One weak box is therefore not enough. The wearer's hand

- is there in other frames of the clip as well, near the same place;
- is not too large for a hand, if nothing but the box speaks for it;
- hangs on an arm that comes into the picture from below or from the sides: by the direction of the
  wrist where a detector tells it, else by a path of the hand's own color to the border.

What fails the first two is dropped. What only fails the last may be another person's hand: it stays
as a hand without a side, of which captions say nothing. docs/results/annotators.md has what this
changes on real footage.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pretrain.clips.clip import HAND

if TYPE_CHECKING:
    from pretrain.annotate.detectors.base import FrameBoxes

NEAR = 0.15
"""How far a hand may move from one frame to the next and still support itself, share of the
image; as far again for each frame between."""

FRAMES, FRAMES_WITH_ARM = 3, 2
"""In how many frames of a clip a hand must be seen, itself among them: where only a box speaks for
it, and where its joints have been found."""

LARGEST = 0.06
"""Share of the image that a hand covers at most where only a box speaks for it."""

FROM_ABOVE = -0.5
"""The wearer's arm does not come more steeply from above: y of its direction, downward."""

GRID = 56
"""Rows and columns of the picture in which an arm is looked for."""

LIKE = 0.12
"""How far a pixel of the arm may differ from the hand: in twice the shares of red, green and blue,
and in half of the brightness, each 0 to 1."""

SIDES_FROM = 1 / 3
"""Above this share of the height, an arm does not come in from the sides."""


def only_real_hands(found: "Sequence[FrameBoxes]", frames: np.ndarray) -> "list[FrameBoxes]":
    """The same boxes without hands that are none, and with ``wearer`` set.

    Args:
        found: of each frame; what is no hand stays as it is, and so does everything of frames whose
            detector tells sides, which knows the wearer's hands by itself.
        frames: uint8 (T, H, W, 3).
    """
    hands = [np.array([name == HAND for name in boxes.category], bool) for boxes in found]
    middles = [
        ((boxes.xyxy[:, :2] + boxes.xyxy[:, 2:]) / 2)[is_hand]
        for boxes, is_hand in zip(found, hands, strict=True)
    ]
    checked = []
    for frame, (boxes, is_hand) in enumerate(zip(found, hands, strict=True)):
        if boxes.side is not None or not is_hand.any():
            checked.append(boxes)
            continue
        least = FRAMES if boxes.arm is None else FRAMES_WITH_ARM
        keep = ~is_hand
        wearer = np.zeros(len(boxes), bool)
        for row in np.flatnonzero(is_hand):
            box = boxes.xyxy[row]
            if boxes.arm is None and (box[2:] - box[:2]).prod() > LARGEST:
                continue
            keep[row] = _times_seen(middles, frame, box) >= min(least, len(found))
            if not keep[row]:
                continue
            if boxes.arm is not None:
                wearer[row] = boxes.arm[row, 1] >= FROM_ABOVE
            else:
                wearer[row] = reaches_border(frames[frame], box)
        checked.append(_chosen(replace(boxes, wearer=wearer), keep))
    return checked


def reaches_border(frame: np.ndarray, box: np.ndarray) -> bool:
    """Whether pixels of a hand's color lead from it to the lower border or to the sides.

    Args:
        frame: uint8 (H, W, 3).
        box: float (4,), left, top, right, bottom as shares of the image.
    """
    small = _shrink(frame)
    brightness = small.sum(axis=-1, keepdims=True) + 0.15  # dark pixels have hardly any hue
    looks = np.concatenate([2 * small / brightness, brightness / 6], axis=-1)
    left, top = (int(n) for n in (box[:2] * GRID).round().clip(0, GRID - 1))
    right = max(left + 1, int(np.rint(box[2] * GRID)))
    bottom = max(top + 1, int(np.rint(box[3] * GRID)))
    inner_y, inner_x = (bottom - top) // 4, (right - left) // 4
    core = looks[top + inner_y : bottom - inner_y, left + inner_x : right - inner_x]
    hand = np.median(core.reshape(-1, looks.shape[-1]), axis=0)
    like = np.abs(looks - hand).max(axis=-1) < LIKE
    inside = np.zeros((GRID, GRID), bool)
    inside[top:bottom, left:right] = True
    arm = _grow(like & inside, like)
    from_sides = arm[int(SIDES_FROM * GRID) :]
    return bool(arm[-1].any() or from_sides[:, 0].any() or from_sides[:, -1].any())


def _times_seen(middles: Sequence[np.ndarray], frame: int, box: np.ndarray) -> int:
    """In how many frames a hand lies near the place of a box."""
    middle = (box[:2] + box[2:]) / 2
    return sum(
        bool((np.linalg.norm(others - middle, axis=1) <= NEAR * max(1, abs(other - frame))).any())
        for other, others in enumerate(middles)
        if len(others)
    )


def _shrink(frame: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> float (GRID, GRID, 3) within [0, 1], each the mean of its pixels."""
    from PIL import Image

    image = Image.fromarray(frame).resize((GRID, GRID), Image.Resampling.BOX)
    return np.asarray(image, np.float64) / 255


def _grow(seed: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """All that is allowed and hangs together with the seed, side by side."""
    grown = seed
    while True:
        wider = grown.copy()
        wider[1:] |= grown[:-1]
        wider[:-1] |= grown[1:]
        wider[:, 1:] |= grown[:, :-1]
        wider[:, :-1] |= grown[:, 1:]
        wider &= allowed
        if (wider == grown).all():
            return grown
        grown = wider


def _chosen(boxes: "FrameBoxes", keep: np.ndarray) -> "FrameBoxes":
    assert boxes.wearer is not None
    return replace(
        boxes,
        category=[name for name, kept in zip(boxes.category, keep, strict=True) if kept],
        score=boxes.score[keep],
        xyxy=boxes.xyxy[keep],
        arm=None if boxes.arm is None else boxes.arm[keep],
        wearer=boxes.wearer[keep],
    )
