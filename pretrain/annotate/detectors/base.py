"""What detectors of hands and objects share: boxes of a frame, and what is derived from them.

A detector finds boxes; which of them are the wearer's hands, which hand is left or right, and what
is touched, is told from the boxes, the pictures and the depth of the clip by the same rules for all
of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain.annotate.detectors.contact import update_contact
from pretrain.annotate.detectors.hand_side import assign_sides
from pretrain.annotate.detectors.wearer import only_real_hands
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.annotate.stage import AnnotationFailure, Stage
from pretrain.clips.annotated_clip import AnnotatedClip, Detections
from pretrain.clips.clip import HAND, NO_SIDE, Boxes, DepthKind


@dataclass
class FrameBoxes:
    """What a detector found in one frame, n boxes.

    Attributes:
        category: n names, HAND or the object's.
        score: float (n,), 0 to 1.
        xyxy: float (n, 4), left, top, right, bottom as shares of the image; may reach beyond it.
        side: int8 (n,), see :attr:`pretrain.clips.clip.Boxes.side`; None if the detector can't
            tell sides.
        arm: float (n, 2), the way from each hand to its arm, of length 1 and with y downward; None
            if the detector can't tell.
        wearer: bool (n,), whether a hand may be the wearer's; None for every one.
    """

    category: list[str]
    score: np.ndarray
    xyxy: np.ndarray
    side: np.ndarray | None = None
    arm: np.ndarray | None = None
    wearer: np.ndarray | None = None

    @classmethod
    def empty(cls) -> "FrameBoxes":
        """Nothing found."""
        return cls([], np.zeros(0, np.float32), np.zeros((0, 4), np.float32))

    def __len__(self) -> int:
        return len(self.category)


class Detector(ABC):
    """Base of detectors: a subclass defines :meth:`detect`.

    Args:
        name: for tables and cards.
        fingerprint: of everything that the boxes depend on.
        batch_size: clips handed over at once.

    Raises:
        AnnotatorOptionError: batch_size is below 1.
    """

    stage: Stage = "hands_objects"

    def __init__(self, name: str, fingerprint: str, batch_size: int) -> None:
        if batch_size < 1:
            raise AnnotatorOptionError(f"Expected batch_size of at least 1, got {batch_size}.")
        self.name = name
        self.fingerprint = fingerprint
        self.batch_size = batch_size

    @abstractmethod
    def detect(self, clip: AnnotatedClip) -> list[FrameBoxes]:
        """Boxes of each of a clip's T frames."""

    def annotate(
        self, clips: Sequence[AnnotatedClip]
    ) -> list[Mapping[str, Any] | AnnotationFailure]:
        """``detections`` of each clip; none where nothing is found."""
        results: list[Mapping[str, Any] | AnnotationFailure] = []
        for clip in clips:
            found = only_real_hands(self.detect(clip), clip.frames)
            results.append({"detections": complete(found, clip.depth, clip.depth_kind)})
        return results


def complete(
    found: Sequence[FrameBoxes], depth: np.ndarray | None, depth_kind: DepthKind | None
) -> Detections:
    """Put the boxes of a clip's frames together, with sides and contact.

    Args:
        found: of each frame.
        depth: float (T, h, w), NaN where not known, or None.
        depth_kind: what the depth's numbers mean; None without depth.
    """
    count = sum(len(boxes) for boxes in found)
    frame = np.repeat(np.arange(len(found), dtype=np.int16), [len(boxes) for boxes in found])
    category = [name for boxes in found for name in boxes.category]
    empty = FrameBoxes.empty()
    xyxy = np.concatenate([empty.xyxy, *(boxes.xyxy for boxes in found)]).astype(np.float32)
    score = np.concatenate([empty.score, *(boxes.score for boxes in found)]).astype(np.float32)
    score = score.clip(0, 1)
    xyxy = xyxy.clip(0, 1)
    side = np.full(count, NO_SIDE, np.int8)
    is_hand = np.array([name == HAND for name in category], bool)
    if any(boxes.side is not None and len(boxes) for boxes in found):
        told = [
            boxes.side if boxes.side is not None else np.zeros(len(boxes), np.int8)
            for boxes in found
        ]
        side = np.concatenate(told).astype(np.int8)
    wearer = np.concatenate(
        [np.ones(0, bool)]
        + [
            boxes.wearer if boxes.wearer is not None else np.ones(len(boxes), bool)
            for boxes in found
        ]
    )
    arm = np.concatenate(
        [np.zeros((0, 2))]
        + [boxes.arm if boxes.arm is not None else np.zeros((len(boxes), 2)) for boxes in found]
    )
    untold = np.flatnonzero(is_hand & wearer & (side == NO_SIDE))
    if len(untold) and not side[is_hand].any():
        side[untold] = assign_sides(
            frame[untold], xyxy[untold], score[untold], depth, depth_kind, arm[untold]
        )
    boxes = Boxes(
        frame=frame,
        track=np.zeros(count, np.int16),
        category=category,
        side=side,
        contact=np.zeros(count, bool),
        xyxy=xyxy,
    )
    contact = update_contact(boxes, None, depth, depth_kind).contact
    return Detections(frame, category, score, side, contact, xyxy)
