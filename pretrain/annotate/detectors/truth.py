"""Boxes as a clip store holds them, in place of a detector: what later stages can do at best."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from egodtm_robot.core.fingerprints import hash_parts
from pretrain.annotate.stage import AnnotationFailure, Stage
from pretrain.clips.annotated_clip import AnnotatedClip, Detections
from pretrain.clips.store import ClipStore

CODE_VERSION = 1


class TrueBoxes:
    """Detections from the boxes of a clip store, sides and contact with them.

    Args:
        store: the clip store that the source ``synthetic`` reads, whose clips name their rows.
        batch_size: clips handed over at once.

    Raises:
        StoreNotFoundError: there is no clip store.
    """

    stage: Stage = "hands_objects"

    def __init__(self, store: str, batch_size: int = 32) -> None:
        self._store = ClipStore.open(store)
        self.name = "truth"
        self.fingerprint = hash_parts("TrueBoxes", CODE_VERSION, self._store.fingerprint)
        self.batch_size = batch_size

    def annotate(
        self, clips: Sequence[AnnotatedClip]
    ) -> list[Mapping[str, Any] | AnnotationFailure]:
        """``detections`` of each clip."""
        results: list[Mapping[str, Any] | AnnotationFailure] = []
        for clip in clips:
            row = clip.extra.get("row")
            if not isinstance(row, int) or not 0 <= row < len(self._store):
                results.append(
                    AnnotationFailure(
                        f"Expected a clip of source=synthetic with its row in the store, from 0 to "
                        f"{len(self._store) - 1}, got {row!r}."
                    )
                )
                continue
            boxes = self._store.read([row], ["boxes"])["boxes"][0]
            detections = Detections(
                frame=boxes.frame,
                category=boxes.category,
                score=np.ones(len(boxes), np.float32),
                side=boxes.side,
                contact=boxes.contact,
                xyxy=boxes.xyxy,
            )
            results.append({"detections": detections})
        return results
