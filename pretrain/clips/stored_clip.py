"""A clip that is stored already as a video, to be annotated as if it were new."""

import math

import av
import numpy as np

from pretrain.clips.clip import DepthKind
from pretrain.clips.decoded_frame import Picture


class StoredClip:
    """Frames of a clip, each shown for one second.

    Args:
        frames: uint8 (T, H, W, 3), RGB.
        depth: float32 (T, h, w), NaN where not known, or None.
        depth_kind: what its numbers mean.
    """

    def __init__(
        self,
        frames: np.ndarray,
        depth: np.ndarray | None = None,
        depth_kind: DepthKind | None = None,
    ) -> None:
        self.frames = frames
        self.depth = depth
        self.depth_kind = depth_kind

    @property
    def duration_s(self) -> float:
        """As many seconds as there are frames."""
        return float(len(self.frames))

    def at(self, time_s: float) -> Picture:
        """The frame of a time within the clip."""
        place = min(max(0, math.floor(time_s)), len(self.frames) - 1)
        frame = av.VideoFrame.from_ndarray(self.frames[place], format="rgb24")
        return Picture(float(place), frame)

    def __enter__(self) -> "StoredClip":
        return self

    def __exit__(self, *_: object) -> None:
        pass
