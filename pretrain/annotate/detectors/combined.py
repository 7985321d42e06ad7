"""Hands from one detector, objects from another, as one stage."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from egodtm_robot.core.fingerprints import hash_parts
from pretrain.annotate.detectors.base import Detector, FrameBoxes
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.box_geometry import intersection_over_union
from pretrain.clips.clip import HAND, NO_SIDE

SAME = 0.7
"""Intersection over union from which an object's box is taken for the hand itself."""

CODE_VERSION = 1


class CombinedDetector(Detector):
    """Hands as ``hands`` finds them, objects as ``objects`` does.

    An object that fills a hand's box is the hand, and is dropped.

    Args:
        hands: a detector, or its options with ``_target_``.
        objects: likewise.
        batch_size: clips handed over at once.

    Raises:
        AnnotatorOptionError: one of the two is no detector.
        EgoDTMRobotError: whatever the two raise.
    """

    def __init__(
        self,
        hands: Detector | Mapping[str, Any],
        objects: Detector | Mapping[str, Any],
        batch_size: int = 4,
    ) -> None:
        self._hands = _detector("hands", hands)
        self._objects = _detector("objects", objects)
        fingerprint = hash_parts(
            "CombinedDetector", CODE_VERSION, self._hands.fingerprint, self._objects.fingerprint
        )
        name = f"{self._hands.name}+{self._objects.name}"
        super().__init__(name, fingerprint, batch_size)

    def detect(self, clip: AnnotatedClip) -> list[FrameBoxes]:
        """Boxes of both for each frame."""
        return [
            _joined(hands, objects)
            for hands, objects in zip(
                self._hands.detect(clip), self._objects.detect(clip), strict=True
            )
        ]


def _joined(hands: FrameBoxes, objects: FrameBoxes) -> FrameBoxes:
    of_hands = np.flatnonzero([name == HAND for name in hands.category])
    of_objects = np.flatnonzero([name != HAND for name in objects.category])
    if len(of_hands) and len(of_objects):
        alike = intersection_over_union(objects.xyxy[of_objects], hands.xyxy[of_hands])
        of_objects = of_objects[alike.max(axis=1) < SAME]
    side = None
    if hands.side is not None:
        side = np.concatenate([hands.side[of_hands], np.full(len(of_objects), NO_SIDE, np.int8)])
    arm = None
    if hands.arm is not None:
        arm = np.concatenate([hands.arm[of_hands], np.zeros((len(of_objects), 2))])
    return FrameBoxes(
        category=[HAND] * len(of_hands) + [objects.category[index] for index in of_objects],
        score=np.concatenate([hands.score[of_hands], objects.score[of_objects]]),
        xyxy=np.concatenate([hands.xyxy[of_hands], objects.xyxy[of_objects]]),
        side=side,
        arm=arm,
    )


def _detector(role: str, given: Detector | Mapping[str, Any]) -> Detector:
    if isinstance(given, Mapping):
        # Imported late: preparation builds on annotators.
        from pretrain.annotate.registry import make_annotator

        made: object = make_annotator(Detector.stage, given)
    else:
        made = given
    if not isinstance(made, Detector):
        raise AnnotatorOptionError(
            f"Expected hands_objects.{role} to be a detector of pretrain.annotate, got "
            f"{type(made).__name__}."
        )
    return made
