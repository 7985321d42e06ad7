"""Annotators that find colored squares, and some that fail, raise or die as they are told."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.annotate.errors import AnnotatorRefusedError
from pretrain.annotate.stage import AnnotationFailure
from pretrain.clips.annotated_clip import AnnotatedClip, Detections
from pretrain.clips.clip import Boxes


class FakeAnnotator:
    """Keeps a line of each batch in ``log``; acts up at clips whose key ends in what is named.

    Args:
        log: file to which each batch's keys are appended.
        version: part of the fingerprint.
        fails: clips that are a failure.
        raises: clips at which it raises.
        refuses: clips at which it says that it can answer for none.
        kills: clips at which it kills its process.
        kills_once: the same, but no more once the file beside the log is there.
        sleep_s: how long each batch takes.
    """

    stage: Any = ""

    def __init__(
        self,
        log: str | None = None,
        version: int = 1,
        fails: Sequence[str] = (),
        raises: Sequence[str] = (),
        refuses: Sequence[str] = (),
        kills: Sequence[str] = (),
        kills_once: Sequence[str] = (),
        sleep_s: float = 0.0,
        batch_size: int = 3,
    ) -> None:
        self.name = f"fake_{self.stage}"
        self.fingerprint = f"{self.stage}-{version}"
        self.batch_size = batch_size
        self.version, self._log, self._sleep = version, log, sleep_s
        self._fails, self._raises = tuple(fails), tuple(raises)
        self._refuses = tuple(refuses)
        self._kills, self._kills_once = tuple(kills), tuple(kills_once)

    def annotate(self, clips: Sequence[AnnotatedClip]) -> list[Any]:
        if self._log:
            with open(self._log, "a") as file:
                file.write(f"{self.stage} {' '.join(clip.key for clip in clips)}\n")
        time.sleep(self._sleep)
        results = []
        for clip in clips:
            mark = Path(f"{self._log}.{self.stage}.killed")
            once = clip.key.endswith(self._kills_once) if self._kills_once else False
            if (self._kills and clip.key.endswith(self._kills)) or (once and not mark.exists()):
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if self._refuses and clip.key.endswith(self._refuses):
                raise AnnotatorRefusedError("Expected a key, got a wrong key.")
            if self._raises and clip.key.endswith(self._raises):
                raise ValueError(f"cannot look at {clip.key}")
            if self._fails and clip.key.endswith(self._fails):
                results.append(AnnotationFailure("Expected a nice clip, got another."))
            else:
                results.append(self.fields(clip))
        return results

    def fields(self, clip: AnnotatedClip) -> dict[str, Any]:
        raise NotImplementedError


class FakeDepth(FakeAnnotator):
    """Depth is how dark it is."""

    stage = "depth"

    def fields(self, clip):
        small = clip.frames[:, ::4, ::4].astype(np.float32).mean(axis=-1)
        depth = (256 - small) / 64
        depth[:, 0, 0] = np.nan
        return {"depth": depth, "depth_kind": "relative"}


class FakeDetector(FakeAnnotator):
    """One hand in each frame, its left edge at the mean depth."""

    stage = "hands_objects"

    def fields(self, clip):
        frames = len(clip.frames)
        left = np.zeros(frames) if clip.depth is None else np.nanmean(clip.depth, axis=(1, 2)) / 10
        box = np.stack([left, left, left + 0.3, left + 0.3], axis=1)
        return {
            "detections": Detections(
                frame=np.arange(frames, dtype=np.int16),
                category=["hand"] * frames,
                score=np.full(frames, 0.9, np.float32),
                side=np.full(frames, 2, np.int8),
                contact=np.zeros(frames, bool),
                xyxy=np.clip(box, 0, 1).astype(np.float32),
            )
        }


class FakeTracker(FakeAnnotator):
    """All detections are one thing."""

    stage = "tracking"

    def fields(self, clip):
        found = clip.detections
        boxes = Boxes(
            frame=found.frame,
            track=np.zeros(len(found), np.int16),
            category=found.category,
            side=found.side,
            contact=found.contact,
            xyxy=found.xyxy,
        )
        masks = np.ones((len(clip.frames), 4, 4), np.uint8)
        return {"boxes": boxes, "masks": masks}


class FakeCaptions(FakeAnnotator):
    """The narration, how many boxes there are, and the version."""

    stage = "captions"

    def fields(self, clip):
        count = 0 if clip.boxes is None else len(clip.boxes)
        return {
            "caption": f"{clip.narration}, {count} boxes, version {self.version}",
            "distractors": (f"not {clip.narration}",),
            "caption_report": {
                "writer": "template",
                "fallback": "verb: was lost" if clip.key.endswith("1") else None,
                "problem": None,
                "statements": [{"kind": "region"}, {"kind": "motion"}],
            },
        }


class NotAnAnnotator:
    """Has no stage."""
