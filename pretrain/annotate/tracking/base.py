"""Tracking: boxes of single frames in, the same number for the same thing through the clip out.

A clip has a handful of frames, half a second or more apart, so that a hand may cross half the
image between two of them: trackers here go by what a thing is called, which hand it is, how large
and how far away, and expect no smooth motion.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pretrain.annotate.stage import AnnotationFailure, Stage
from pretrain.clips.annotated_clip import AnnotatedClip, Detections
from pretrain.clips.clip import HAND, Boxes

MAX_TRACKS = 255
"""Things in a clip: masks hold a track's number plus 1 in a byte."""


class TrackingAnnotator(ABC):
    """The tracking stage around one way to track.

    Attributes:
        stage: ``tracking``.
        name: of the tracker.
        fingerprint: of weights, options and code version.
        batch_size: clips at once.
    """

    stage: Stage = "tracking"
    name: str
    fingerprint: str
    batch_size: int

    @abstractmethod
    def track(self, clip: AnnotatedClip, detections: Detections) -> tuple[Boxes, np.ndarray | None]:
        """Boxes with tracks, and masks uint8 (T, h, w) of track + 1 or None, of one clip."""

    def annotate(
        self, clips: Sequence[AnnotatedClip]
    ) -> list[Mapping[str, Any] | AnnotationFailure]:
        """``boxes`` and ``masks`` of each clip."""
        results: list[Mapping[str, Any] | AnnotationFailure] = []
        for clip in clips:
            if clip.detections is None:
                results.append(
                    AnnotationFailure(
                        "Expected the detections of the stage hands_objects, got none; run that "
                        "stage first."
                    )
                )
                continue
            boxes, masks = self.track(clip, clip.detections)
            results.append({"boxes": boxes, "masks": masks})
        return results


def tracked_boxes(detections: Detections, identities: np.ndarray) -> tuple[Boxes, np.ndarray]:
    """Number things through and sort their boxes.

    Hands come first, the left before the right; then what is seen first, and in one frame what is
    farther left. A thing has one box a frame, the best; of more than :data:`MAX_TRACKS` things
    those with the fewest boxes are left out.

    Args:
        detections: n rows.
        identities: int (n,), the same number for the same thing, -1 for a row to leave out.

    Returns:
        Boxes by frame and track, and the rows of the detections that they came from, int (m,).
    """
    best: dict[tuple[int, int], int] = {}
    for row in np.lexsort((np.arange(len(detections)), -detections.score)):
        key = (int(identities[row]), int(detections.frame[row]))
        if key[0] >= 0:
            best.setdefault(key, int(row))
    things: dict[int, list[int]] = {}
    for (identity, _), row in sorted(best.items()):
        things.setdefault(identity, []).append(row)
    kept = sorted(things.values(), key=len, reverse=True)[:MAX_TRACKS]
    kept.sort(key=lambda rows: _rank(detections, rows))
    pairs = sorted(
        (int(detections.frame[row]), track, row) for track, rows in enumerate(kept) for row in rows
    )
    rows = np.array([row for _, _, row in pairs], np.int64)
    if not len(rows):
        return Boxes.empty(), rows
    sides = {track: _side(detections.side[rows]) for track, rows in enumerate(kept)}
    boxes = Boxes(
        frame=detections.frame[rows].astype(np.int16),
        track=np.array([track for _, track, _ in pairs], np.int16),
        category=[detections.category[row] for row in rows],
        side=np.array([sides[track] for _, track, _ in pairs], np.int8),
        contact=detections.contact[rows].astype(bool),
        xyxy=np.clip(detections.xyxy[rows], 0, 1).astype(np.float32),
    )
    return boxes, rows


def _rank(detections: Detections, rows: Sequence[int]) -> tuple[Any, ...]:
    first = min(rows, key=lambda row: int(detections.frame[row]))
    is_hand = detections.category[first] == HAND
    side = int(_side(detections.side[list(rows)])) if is_hand else 0
    box = detections.xyxy[first]
    return (not is_hand, side, int(detections.frame[first]), float(box[0]), float(box[1]), first)


def _side(sides: np.ndarray) -> int:
    """The side that most boxes of a hand say; none of two that are as frequent."""
    known = sides[sides > 0]
    if not known.size:
        return 0
    counts = np.bincount(known, minlength=3)
    return 0 if counts[1] == counts[2] else int(counts.argmax())


def mask_bounds(mask: np.ndarray) -> np.ndarray | None:
    """Bounds of what a mask shows.

    Args:
        mask: bool (h, w).

    Returns:
        float32 (4,) left, top, right and bottom as shares of the image, or None of an empty mask.
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    height, width = mask.shape
    edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return np.array(edges, np.float32) / np.array([width, height, width, height], np.float32)
