"""A clip on its way from a video to the store, with what each stage of annotation has added."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pretrain.clips.clip import Boxes, DepthKind


@dataclass
class Detections:
    """Boxes as a detector gives them, n rows over all frames, before anything is tracked.

    Attributes:
        frame: int16 (n,), 0 to T - 1.
        category: n names, "hand" or the object's as it was asked for.
        score: float32 (n,), 0 to 1.
        side: int8 (n,), see :attr:`pretrain.clips.clip.Boxes.side`.
        contact: bool (n,), whether a hand touches an object, or is touched by one.
        xyxy: float32 (n, 4), left, top, right and bottom as shares of the image.
    """

    frame: np.ndarray
    category: list[str]
    score: np.ndarray
    side: np.ndarray
    contact: np.ndarray
    xyxy: np.ndarray

    def __len__(self) -> int:
        return len(self.category)


@dataclass
class AnnotatedClip:
    """A clip on its way through the stages; None is what no stage has written yet.

    Attributes:
        key: names the clip within its source.
        frames: uint8 (T, H, W, 3), RGB.
        times: float64 (T,), seconds from the video's start.
        narration: what happens.
        scene: names the place or the video; splits share none.
        source: data set that it comes from.
        licence: under which it may be passed on.
        depth: float32 (T, h, w), near is small, NaN where not known.
        depth_kind: what the depth's numbers mean.
        detections: hands and objects of single frames.
        boxes: hands and objects with track ids.
        masks: uint8 (T, h, w), track + 1, 0 for the background.
        camera_pose: float32 (T, 7), or None.
        caption: the narration with what is known of space and motion.
        distractors: captions that are false of the clip.
        caption_report: who wrote the caption and why: ``writer``, ``fallback`` (a reason or None),
            ``statements``.
        extra: anything else that JSON can hold.
    """

    key: str
    frames: np.ndarray
    times: np.ndarray
    narration: str
    scene: str
    source: str
    licence: str
    depth: np.ndarray | None = None
    depth_kind: DepthKind | None = None
    detections: Detections | None = None
    boxes: Boxes | None = None
    masks: np.ndarray | None = None
    camera_pose: np.ndarray | None = None
    caption: str | None = None
    distractors: tuple[str, ...] = ()
    caption_report: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
