"""ByteTrack (Zhang et al., ECCV 2022, arXiv 2110.06864) of the package ``trackers``, at clip rate.

Its Kalman filter and its overlap of boxes are made for video of 30 frames a second. Here each kind
of thing is tracked apart from the others, boxes are compared by distance and size where they no
longer overlap, and every frame is given twice: a thing has its number from its first frame on, and
the filter expects it about where it was last seen.
"""

from typing import Any

import numpy as np

from egodtm_robot.core.fingerprints import hash_parts
from pretrain.annotate.errors import MissingPackageError
from pretrain.annotate.tracking.association import check_options, closeness
from pretrain.annotate.tracking.base import TrackingAnnotator, tracked_boxes
from pretrain.clips.annotated_clip import AnnotatedClip, Detections
from pretrain.clips.clip import HAND, Boxes

_CODE_VERSION = 1
_PASSES = 2
_FRAME_RATE = 30.0


class ByteTrack(TrackingAnnotator):
    """Tracks by ByteTrack, without masks.

    Args:
        activation: least score with which a thing begins a track; boxes of lower scores only go on
            with one, 0 to 1.
        reach: way through the image that a thing may go from one frame to the next, share of the
            image's side.
        memory: frames that a thing may be out of sight.
        batch_size: clips at once.

    Raises:
        AnnotatorOptionError: an option is out of its range.
        MissingPackageError: the package is not installed, or cannot be imported here.
    """

    def __init__(
        self,
        activation: float = 0.4,
        reach: float = 0.5,
        memory: int = 3,
        batch_size: int = 64,
    ) -> None:
        check_options(activation, reach, memory, batch_size)
        self.name = "byte_track"
        self.batch_size = batch_size
        self._activation, self._reach, self._memory = activation, reach, memory
        self._library, version = _import_library()
        self.fingerprint = hash_parts(
            "byte_track", _CODE_VERSION, version, activation, reach, memory
        )

    def track(self, clip: AnnotatedClip, detections: Detections) -> tuple[Boxes, None]:
        """See :class:`TrackingAnnotator`."""
        identities = np.full(len(detections), -1, np.int64)
        names = sorted(set(detections.category))
        for name in names:
            rows = np.array([row for row, other in enumerate(detections.category) if other == name])
            for group in _by_side(rows, detections.side) if name == HAND else [rows]:
                found = self._identities(detections, group, len(clip.frames))
                identities[group] = np.where(found >= 0, found + identities.max() + 1, -1)
        return tracked_boxes(detections, identities)[0], None

    def _identities(self, detections: Detections, rows: np.ndarray, frames: int) -> np.ndarray:
        """Numbers (n,) of the things in some rows, -1 for those below the activation."""
        supervision, tracker_class, similarity = self._library
        tracker = tracker_class(
            # In frames of 30 a second, whatever the clip's rate: each frame counts _PASSES of them.
            lost_track_buffer=(self._memory + 1) * _PASSES - 1,
            frame_rate=_FRAME_RATE,
            track_activation_threshold=self._activation,
            high_conf_det_threshold=self._activation,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=1e-6,
            iou=similarity(self._reach),
        )
        found = np.full(len(rows), -1, np.int64)
        for frame in range(frames):
            here = np.flatnonzero(detections.frame[rows] == frame)
            given = supervision.Detections(
                xyxy=detections.xyxy[rows[here]].astype(np.float64).reshape(-1, 4),
                confidence=detections.score[rows[here]].astype(np.float64),
                data={"row": here},
            )
            for _ in range(_PASSES):
                result = tracker.update(given)
            if len(result):
                found[result.data["row"]] = result.tracker_id
        return found


def _by_side(rows: np.ndarray, side: np.ndarray) -> list[np.ndarray]:
    """Hands by side."""
    groups = [rows[side[rows] == value] for value in np.unique(side[rows])]
    return [group for group in groups if len(group)]


def _import_library() -> tuple[Any, str]:
    """(supervision, the tracker's class, the similarity's class), and the library's version."""
    from importlib.metadata import version

    try:
        import supervision
        from trackers import BaseIoU, ByteTrackTracker
    except ImportError as error:
        advice = "Run: pip install trackers"
        if "libGL" in str(error):
            advice = (
                "Without a display OpenCV needs its headless build. Run: pip uninstall -y "
                "opencv-python && pip install --force-reinstall opencv-python-headless; or choose "
                "tracking=association, which needs neither"
            )
        raise MissingPackageError(
            f"tracking=byte_track needs the package trackers, which cannot be imported ({error}). "
            f"{advice}."
        ) from error

    class Similarity(BaseIoU):
        """Closeness of boxes, see :func:`closeness`."""

        def __init__(self, reach: float) -> None:
            self._reach = reach

        def _compute(self, boxes_1: np.ndarray, boxes_2: np.ndarray) -> np.ndarray:
            return closeness(boxes_1, boxes_2, self._reach)

    return (supervision, ByteTrackTracker, Similarity), version("trackers")
