"""Tracking by association: boxes of neighboring frames are paired by what they have in common.

Like ByteTrack (Zhang et al., ECCV 2022, arXiv 2110.06864) it goes on with tracks by boxes of high
score first and by the others after them, but it has no model of motion: at clip rate none holds.
Instead boxes are compared by category, side of the hand, distance, size and the colors in them,
after the motion of the camera is taken away, which most boxes share.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from egodtm_robot.core.fingerprints import hash_parts
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.annotate.tracking.base import TrackingAnnotator, tracked_boxes
from pretrain.clips.annotated_clip import AnnotatedClip, Detections
from pretrain.clips.box_geometry import intersection_over_union
from pretrain.clips.clip import HAND, LEFT, RIGHT, Boxes

_CODE_VERSION = 1
_COLOR_WEIGHT = 0.5
_WRONG_SIDE = 0.5
_COLOR_BINS = 4
_SAMPLES = 12
_LEAST_PAIRS = 3
_NEVER = -1e6
_OTHER_SIDE = {LEFT: RIGHT, RIGHT: LEFT}


def check_options(activation: float, reach: float, memory: int, batch_size: int) -> None:
    """Raise AnnotatorOptionError for options of a tracker that are out of their range."""
    if not 0 <= activation <= 1 or reach <= 0 or memory < 0 or batch_size < 1:
        raise AnnotatorOptionError(
            "Expected activation of 0 to 1, reach above 0, memory of at least 0 frames and "
            f"batch_size of at least 1, got {activation}, {reach}, {memory} and {batch_size}."
        )


def closeness(first: np.ndarray, second: np.ndarray, reach: float) -> np.ndarray:
    """How likely boxes of two frames show the same thing, by place and size alone.

    Args:
        first: (n, 4) left, top, right and bottom as shares of the image.
        second: (m, 4).
        reach: distance of the middles from which on it is 0, share of the image.

    Returns:
        (n, m), 0 to 1: the mean of the overlap (intersection over union) and of a term that falls
        with the distance and with the difference in size.
    """
    a, b = first[:, None].astype(np.float64), second[None].astype(np.float64)
    areas = [_areas(boxes) for boxes in (a, b)]
    way = np.linalg.norm((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2, axis=-1)
    sizes = np.sqrt(np.minimum(*areas) / np.maximum(*areas))
    near = np.clip(1 - way / reach, 0, None)
    return np.where(near > 0, (intersection_over_union(first, second) + near * sizes) / 2, 0.0)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.asarray(np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 1e-6), axis=-1))


@dataclass
class _Track:
    """A thing: its category, its rows so far, and what it was like in the last of them."""

    category: str
    rows: list[int] = field(default_factory=list)
    frame: int = -1
    sides: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def add(self, row: int, detections: Detections) -> None:
        self.rows.append(row)
        self.frame = int(detections.frame[row])
        self.sides[int(detections.side[row])] += 1


class Association(TrackingAnnotator):
    """Tracks by pairing boxes of neighboring frames, without masks.

    Args:
        activation: least score with which a thing begins a track; boxes of lower scores only go on
            with one, 0 to 1.
        reach: way through the image that a thing may go from one frame to the next beyond what the
            camera does, share of the image. A left or right hand may go anywhere.
        memory: frames that a thing may be out of sight.
        batch_size: clips at once.

    Raises:
        AnnotatorOptionError: an option is out of its range.
    """

    def __init__(
        self,
        activation: float = 0.4,
        reach: float = 0.35,
        memory: int = 3,
        batch_size: int = 64,
    ) -> None:
        check_options(activation, reach, memory, batch_size)
        self.name = "association"
        self.batch_size = batch_size
        self._activation, self._reach, self._memory = activation, reach, memory
        self.fingerprint = hash_parts("association", _CODE_VERSION, activation, reach, memory)

    def track(self, clip: AnnotatedClip, detections: Detections) -> tuple[Boxes, None]:
        """See :class:`TrackingAnnotator`."""
        colors = box_colors(clip.frames, detections)
        tracks: list[_Track] = []
        for frame in range(len(clip.frames)):
            rows = np.flatnonzero(detections.frame == frame)
            sure = detections.score[rows] >= self._activation
            live = [track for track in tracks if frame - track.frame <= self._memory + 1]
            still = np.zeros(2)
            pairs = self._pairs(live, rows, detections, colors, still)
            shift = _common_shift(pairs, detections)
            continued: set[int] = set()
            for part, begins in ((rows[sure], True), (rows[~sure], False)):
                open_tracks = [track for track in live if id(track) not in continued]
                pairs = self._pairs(open_tracks, part, detections, colors, shift)
                continued |= {id(track) for track, _ in pairs}
                for track, row in pairs:
                    track.add(row, detections)
                if begins:
                    for row in sorted(set(part.tolist()) - {row for _, row in pairs}):
                        tracks.append(_Track(detections.category[row]))
                        tracks[-1].add(row, detections)
        identities = np.full(len(detections), -1, np.int64)
        for number, track in enumerate(tracks):
            identities[track.rows] = number
        return tracked_boxes(detections, identities)[0], None

    def _pairs(
        self,
        tracks: Sequence[_Track],
        rows: np.ndarray,
        detections: Detections,
        colors: np.ndarray,
        shift: np.ndarray,
    ) -> list[tuple[_Track, int]]:
        """Tracks with the rows that go on with them, at best over all of a frame."""
        if not tracks or not len(rows):
            return []
        last = np.array([track.rows[-1] for track in tracks])
        before = detections.xyxy[last] + np.tile(shift, 2)
        likeness = closeness(before, detections.xyxy[rows], self._reach)
        possible = likeness > 0
        likeness += _COLOR_WEIGHT * np.minimum(colors[last][:, None], colors[rows][None]).sum(-1)
        for number, track in enumerate(tracks):
            for column, row in enumerate(rows):
                side = int(detections.side[row])
                votes = track.sides[side] - track.sides[_OTHER_SIDE[side]] if side else 0
                if votes < 0:
                    likeness[number, column] -= _WRONG_SIDE
                # The wearer has one hand of a side, wherever it went.
                possible[number, column] |= votes > 0
                possible[number, column] &= detections.category[row] == track.category
        chosen = linear_sum_assignment(np.where(possible, likeness, _NEVER), maximize=True)
        return [
            (tracks[number], int(rows[column]))
            for number, column in zip(*chosen, strict=True)
            if possible[number, column]
        ]


def _common_shift(pairs: Sequence[tuple[_Track, int]], detections: Detections) -> np.ndarray:
    """The way (2,) that most things but hands went since they were last seen; 0 of too few."""
    ways = [
        detections.xyxy[row] - detections.xyxy[track.rows[-1]]
        for track, row in pairs
        if track.category != HAND and detections.frame[row] == track.frame + 1
    ]
    if len(ways) < _LEAST_PAIRS:
        return np.zeros(2)
    return np.asarray(np.median(ways, axis=0).reshape(2, 2).mean(axis=0))


def box_colors(frames: np.ndarray, detections: Detections) -> np.ndarray:
    """Histograms of the colors in boxes.

    Args:
        frames: uint8 (T, H, W, 3).
        detections: n rows.

    Returns:
        float64 (n, 64), each row of sum 1, over 4 steps each of red, green and blue.
    """
    _, height, width, _ = frames.shape
    histograms = np.zeros((len(detections), _COLOR_BINS**3))
    weights = _COLOR_BINS ** np.arange(3)
    places = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    for row, (frame, box) in enumerate(zip(detections.frame, detections.xyxy, strict=True)):
        # The inner part of a box shows more of the thing and less of what is around it.
        x, y = (box[axis] + (box[axis + 2] - box[axis]) * (0.15 + 0.7 * places) for axis in (0, 1))
        columns = np.clip((x * width).astype(int), 0, width - 1)
        lines = np.clip((y * height).astype(int), 0, height - 1)
        pixels = frames[int(frame)][lines[:, None], columns[None]].reshape(-1, 3)
        bins = (pixels.astype(int) * _COLOR_BINS // 256) @ weights
        histograms[row] = np.bincount(bins, minlength=_COLOR_BINS**3) / len(bins)
    return histograms
