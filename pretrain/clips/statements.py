"""What can be said of space in a clip, read off its boxes, masks and depth.

The words of the view: where in the image a thing is, on which side of another, nearer or farther
than it, and which way it goes. Everything is said with a margin, so that it still holds where a box
is a little off, and can be checked by the same data. The writer of synthetic captions and that of
real ones share it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain.clips.clip import Boxes, DepthKind

REGION_MARGIN = 0.03
"""A region is only named where the box's middle is that far inside it, share of the image."""

BESIDE = 0.12
"""Least distance between the middles of boxes that are left or right of one another."""

NEARER = 0.06
"""Least difference in median depth between nearer and farther things, meters."""

NEARER_SHARE = 0.08
"""The same for depth without a unit, as a share of the range of depths in the frame."""

SHIFT = 0.06
"""Least way of a box's middle through the image that counts as motion."""

APPROACH = 0.05
"""Least change in median depth that counts as motion, meters."""

OPPOSITE = {
    "left": "right",
    "right": "left",
    "up": "down",
    "down": "up",
    "toward": "away",
    "away": "toward",
}
"""Directions and their contraries."""

MOTIONS = {
    "left": "to the left",
    "right": "to the right",
    "up": "up",
    "down": "down",
    "toward": "toward the camera",
    "away": "away from the camera",
}
"""Directions in words."""

_FIRST_BORDER, _SECOND_BORDER = 0.36, 0.64


@dataclass(frozen=True)
class Statement:
    """Something said of a clip, for machines.

    Attributes:
        kind: ``hand``, ``region``, ``to the left of``, ``to the right of``, ``nearer than``,
            ``farther than`` or ``motion``.
        track: of what it is said.
        value: the hand's side, the region, the motion, or the track of what it is compared with.
        span: first and last frame of a motion, or twice the frame that it is said of.
    """

    kind: str
    track: int
    value: str | int
    span: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """For :attr:`pretrain.clips.clip.Clip.extra`."""
        return {
            "kind": self.kind,
            "track": self.track,
            "value": self.value,
            "span": list(self.span),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Statement":
        """The statement that :meth:`to_json` wrote."""
        first, last = content["span"]
        return cls(content["kind"], content["track"], content["value"], (first, last))


@dataclass
class Sight:
    """What is seen of each track.

    Attributes:
        boxes: left, top, right and bottom by (track, frame).
        depth: median depth by (track, frame), where it is known.
        spread: a quarter of the pixels of a thing are nearer than the first number by (track,
            frame), a quarter farther than the second.
        least_step: by frame the least difference in depth that counts as nearer.
        metric: whether depth is in meters: only then are frames compared with one another.
    """

    boxes: dict[tuple[int, int], np.ndarray]
    depth: dict[tuple[int, int], float]
    spread: dict[tuple[int, int], tuple[float, float]]
    least_step: dict[int, float]
    metric: bool

    @classmethod
    def of(
        cls,
        boxes: Boxes,
        masks: np.ndarray | None,
        depth: np.ndarray | None,
        depth_kind: DepthKind | None = "metric",
    ) -> "Sight":
        """Gathers what is needed from a clip's data.

        Args:
            boxes: of the clip.
            masks: uint8 (T, h, w), track + 1. Without masks, the middle of a box stands for what
                is in it.
            depth: float32 (T, h, w), NaN where not known.
            depth_kind: what the depth means.
        """
        own = {
            (int(track), int(frame)): xyxy
            for track, frame, xyxy in zip(boxes.track, boxes.frame, boxes.xyxy, strict=True)
        }
        sight = cls(own, {}, {}, {}, depth_kind == "metric")
        if depth is None:
            return sight
        for frame in range(len(depth)):
            sight.least_step[frame] = NEARER
            if not sight.metric:
                known = depth[frame][np.isfinite(depth[frame])]
                low, high = np.percentile(known, [5, 95]) if known.size else (0.0, 0.0)
                sight.least_step[frame] = NEARER_SHARE * float(high - low)
        for (track, frame), box in own.items():
            if masks is None:
                values = _middle_of(depth[frame], box)
            else:
                values = depth[frame][masks[frame] == track + 1]
            values = values[np.isfinite(values)]
            if values.size:
                low, high = np.percentile(values, [25, 75])
                sight.depth[track, frame] = float(np.median(values))
                sight.spread[track, frame] = (float(low), float(high))
        return sight

    def center(self, track: int, frame: int) -> np.ndarray | None:
        """Middle of a box, or None where it is not seen."""
        box = self.boxes.get((track, frame))
        return None if box is None else (box[:2] + box[2:]) / 2

    def frames(self, track: int) -> list[int]:
        """Frames in which a track is seen, in order."""
        return sorted(frame for own, frame in self.boxes if own == track)


def region(center: np.ndarray, margin: float = REGION_MARGIN) -> str:
    """The part of the image in which a point lies, or empty near the border of two.

    Args:
        center: x and y as shares of the image.
        margin: what counts as near.
    """
    names = []
    for value, (low, high) in ((center[1], ("upper", "lower")), (center[0], ("left", "right"))):
        if abs(value - _FIRST_BORDER) < margin or abs(value - _SECOND_BORDER) < margin:
            return ""
        names.append(low if value < _FIRST_BORDER else high if value > _SECOND_BORDER else "")
    vertical, horizontal = names
    if not vertical and not horizontal:
        return "centre"
    if not horizontal:
        return {"upper": "top", "lower": "bottom"}[vertical]
    if not vertical:
        return horizontal
    return f"{vertical} {horizontal}"


def motion(
    sight: Sight,
    track: int,
    first: int,
    last: int,
    shift: float = SHIFT,
    approach: float = APPROACH,
) -> tuple[str, ...]:
    """Components of a track's motion between two frames, the largest first.

    Args:
        sight: of the clip.
        track: what moves.
        first: frame.
        last: frame.
        shift: least way through the image, share of it.
        approach: least way toward the camera or away from it, meters.
    """
    start, end = sight.center(track, first), sight.center(track, last)
    if start is None or end is None:
        return ()
    found: list[tuple[float, str]] = []
    dx, dy = end - start
    if abs(dx) > shift:
        found.append((abs(dx) / shift, "right" if dx > 0 else "left"))
    if abs(dy) > shift:
        found.append((abs(dy) / shift, "down" if dy > 0 else "up"))
    if sight.metric and (track, first) in sight.depth and (track, last) in sight.depth:
        dz = sight.depth[track, last] - sight.depth[track, first]
        if abs(dz) > approach:
            found.append((abs(dz) / approach, "away" if dz > 0 else "toward"))
    return tuple(way for _, way in sorted(found, reverse=True))


def relations(
    sight: Sight,
    track: int,
    others: Mapping[int, str],
    frame: int = 0,
    beside: float = BESIDE,
    steps: float = 1.0,
) -> list[tuple[str, int, str]]:
    """What can be said of a track against others in one frame: relation, track, noun.

    Args:
        sight: of the clip.
        track: of what it is said.
        others: nouns by track.
        frame: of the clip.
        beside: least distance between the middles of boxes.
        steps: least difference in depth, in units of :attr:`Sight.least_step`.
    """
    own = sight.boxes.get((track, frame))
    if own is None:
        return []
    found = []
    for other, noun in others.items():
        box = sight.boxes.get((other, frame))
        if box is None:
            continue
        dx = (own[0] + own[2] - box[0] - box[2]) / 2
        apart = own[2] <= box[0] + 0.02 or box[2] <= own[0] + 0.02
        if abs(dx) > beside and apart:
            found.append(("to the left of" if dx < 0 else "to the right of", other, noun))
        if (track, frame) in sight.depth and (other, frame) in sight.depth:
            dz = sight.depth[track, frame] - sight.depth[other, frame]
            if abs(dz) > steps * sight.least_step[frame]:
                found.append(("nearer than" if dz < 0 else "farther than", other, noun))
    return found


def listed(words: "list[str] | tuple[str, ...]") -> str:
    """Words as a sentence lists them: "a, b and c"."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _middle_of(depth: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Depths (n,) of the middle half of a box, at least of one pixel."""
    height, width = depth.shape
    spans = []
    for low, high, size in ((box[1], box[3], height), (box[0], box[2], width)):
        quarter = (high - low) / 4
        start = int(np.clip(np.floor((low + quarter) * size), 0, size - 1))
        stop = int(np.clip(np.ceil((high - quarter) * size), start + 1, size))
        spans.append(slice(start, stop))
    return depth[spans[0], spans[1]].ravel()
