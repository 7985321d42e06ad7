"""One egocentric clip with everything that is known of it."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from egodtm_robot.core.errors import InvalidClipError
from pretrain.clips.dense import CLASSES, DENSE_KINDS, frame_pairs

DepthKind = Literal["metric", "relative"]
"""Meters, or any number that grows with the distance."""

NO_SIDE, LEFT, RIGHT = 0, 1, 2
"""Values of :attr:`Boxes.side`."""

HAND = "hand"
"""The category of hands; every other one is an object's name."""


@dataclass
class Boxes:
    """Boxes of hands and objects, one row for each box of each frame, n in all.

    Attributes:
        frame: int16 (n,), the frame a box is in, 0 to T - 1.
        track: int16 (n,), the same number for the same thing through the clip, from 0.
        category: n names, "hand" or the object's.
        side: int8 (n,), 0 none, 1 the left hand, 2 the right hand.
        contact: bool (n,), whether hand and object touch.
        xyxy: float32 (n, 4), left, top, right and bottom as shares of the image, 0 to 1.
    """

    frame: np.ndarray
    track: np.ndarray
    category: list[str]
    side: np.ndarray
    contact: np.ndarray
    xyxy: np.ndarray

    @classmethod
    def empty(cls) -> "Boxes":
        """No boxes at all."""
        return cls(
            frame=np.zeros(0, np.int16),
            track=np.zeros(0, np.int16),
            category=[],
            side=np.zeros(0, np.int8),
            contact=np.zeros(0, bool),
            xyxy=np.zeros((0, 4), np.float32),
        )

    def __len__(self) -> int:
        return len(self.category)

    def select(self, kept: np.ndarray) -> "Boxes":
        """A copy of some rows; kept is bool (n,)."""
        return Boxes(
            frame=self.frame[kept],
            track=self.track[kept],
            category=[name for name, keep in zip(self.category, kept, strict=True) if keep],
            side=self.side[kept],
            contact=self.contact[kept],
            xyxy=self.xyxy[kept],
        )

    def check(self, frames: int) -> None:
        """Check types, shapes and ranges.

        Args:
            frames: T of the clip.

        Raises:
            InvalidClipError: something does not fit.
        """
        wanted = {
            "frame": (np.int16, (len(self),)),
            "track": (np.int16, (len(self),)),
            "side": (np.int8, (len(self),)),
            "contact": (np.bool_, (len(self),)),
            "xyxy": (np.float32, (len(self), 4)),
        }
        for name, (dtype, shape) in wanted.items():
            _check_array(f"boxes.{name}", getattr(self, name), dtype, shape)
        if not all(isinstance(name, str) and name for name in self.category):
            raise InvalidClipError(f"Expected names as box categories, got {self.category}.")
        if not len(self):
            return
        _check_range("boxes.frame", self.frame, 0, frames - 1)
        _check_range("boxes.track", self.track, 0, np.iinfo(np.int16).max)
        _check_range("boxes.side", self.side, NO_SIDE, RIGHT)
        _check_range("boxes.xyxy", self.xyxy, 0, 1)
        if (self.xyxy[:, :2] > self.xyxy[:, 2:]).any():
            raise InvalidClipError("Expected boxes.xyxy as left, top, right, bottom; got others.")


@dataclass
class Clip:
    """A few frames of egocentric video: T frames, and maps of h x w that may be smaller.

    Attributes:
        frames: uint8 (T, H, W, 3), RGB.
        depth: float32 (T, h, w), near is small; meters if ``depth_kind`` is "metric", NaN where it
            is not known. None if no depth is known at all.
        depth_kind: what the depth's numbers mean; None without depth.
        masks: uint8 (T, h, w), the track that a pixel shows plus 1, 0 for the background, or None.
        boxes: hands and objects.
        camera_pose: float32 (T, 7), position in the world and quaternion w x y z, or None.
        narration: what happens, in Ego4D's manner: "#C C picks up the red mug".
        caption: the same, with what is known of space and motion.
        distractors: captions that are false of this clip, differing only in action, direction or
            hand; may be empty.
        key: names the clip within its source.
        scene: names the place; splits share none.
        source: data set that it comes from.
        licence: under which it may be passed on.
        extra: anything else that JSON can hold.
        segmentation: uint8 (T, h, w), normals: float32 (T, h, w, 3), points: float32 (P, h, w, 2),
            looks: uint8 (T, H, W, 3); dense truth of :mod:`pretrain.clips.dense`, or None.
    """

    frames: np.ndarray
    depth: np.ndarray | None
    depth_kind: DepthKind | None
    masks: np.ndarray | None
    boxes: Boxes
    camera_pose: np.ndarray | None
    narration: str
    caption: str
    distractors: tuple[str, ...]
    key: str
    scene: str
    source: str
    licence: str
    extra: dict[str, Any] = field(default_factory=dict)
    segmentation: np.ndarray | None = None
    normals: np.ndarray | None = None
    points: np.ndarray | None = None
    looks: np.ndarray | None = None

    @property
    def dense(self) -> tuple[str, ...]:
        """Kinds of dense truth that it has."""
        return tuple(kind for kind in DENSE_KINDS if getattr(self, kind) is not None)

    def check(self) -> None:
        """Check types, shapes and ranges of everything.

        Raises:
            InvalidClipError: something does not fit.
        """
        frames = self.frames
        _check_array("frames", frames, np.uint8, None)
        if frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
            raise InvalidClipError(f"Expected frames (T, H, W, 3), got {frames.shape}.")
        length = len(frames)
        for name, dtype in (("depth", np.float32), ("masks", np.uint8)):
            values = getattr(self, name)
            if values is None:
                continue
            _check_array(name, values, dtype, None)
            if values.ndim != 3 or len(values) != length or 0 in values.shape:
                raise InvalidClipError(f"Expected {name} ({length}, h, w), got {values.shape}.")
        if (self.depth is None) != (self.depth_kind is None):
            raise InvalidClipError(
                f"Expected depth_kind with depth and without it None, got {self.depth_kind!r}."
            )
        if self.depth is not None:
            if self.depth_kind not in get_args(DepthKind):
                raise InvalidClipError(
                    f"Expected depth_kind metric or relative, got {self.depth_kind!r}."
                )
            known = self.depth[~np.isnan(self.depth)]
            if known.size and not (known.min() >= 0 and np.isfinite(known.max())):
                raise InvalidClipError(
                    "Expected depth of 0 or more, NaN where it is not known, got "
                    f"{known.min()} to {known.max()}."
                )
        self._check_dense(length)
        if self.camera_pose is not None:
            _check_array("camera_pose", self.camera_pose, np.float32, (length, 7))
            if not np.isfinite(self.camera_pose).all():
                raise InvalidClipError("Expected finite numbers in camera_pose.")
        for name in ("narration", "caption", "key", "scene", "source", "licence"):
            if not isinstance(getattr(self, name), str):
                raise InvalidClipError(f"Expected text in {name}, got {getattr(self, name)!r}.")
        if not all(isinstance(text, str) for text in self.distractors):
            raise InvalidClipError(f"Expected captions as distractors, got {self.distractors!r}.")
        try:
            json.dumps(self.extra, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidClipError(
                f"Expected extra to hold what JSON can write, got {self.extra!r} ({error})."
            ) from error
        self.boxes.check(length)

    def _check_dense(self, length: int) -> None:
        if self.looks is not None:
            _check_array("looks", self.looks, np.uint8, self.frames.shape)
        pairs = len(frame_pairs(length))
        for name, dtype, first, last in (
            ("segmentation", np.uint8, length, ()),
            ("normals", np.float32, length, (3,)),
            ("points", np.float32, pairs, (2,)),
        ):
            values = getattr(self, name)
            if values is None:
                continue
            _check_array(name, values, dtype, None)
            shape = values.shape
            if len(shape) != 3 + len(last) or shape[0] != first or shape[3:] != last or 0 in shape:
                wanted = ", ".join(map(str, (first, "h", "w", *last)))
                raise InvalidClipError(f"Expected {name} ({wanted}), got {shape}.")
            low, high = {"segmentation": (0, len(CLASSES) - 1), "normals": (-1, 1)}.get(
                name, (0, 1)
            )
            known = values[~np.isnan(values)] if last else values
            if known.size:
                _check_range(name, known, low - 1e-3, high + 1e-3)


def _check_array(name: str, values: Any, dtype: Any, shape: tuple[int, ...] | None) -> None:
    if not isinstance(values, np.ndarray) or values.dtype != np.dtype(dtype):
        found = getattr(values, "dtype", type(values).__name__)
        raise InvalidClipError(f"Expected an array of {np.dtype(dtype)} as {name}, got {found}.")
    if shape is not None and values.shape != shape:
        raise InvalidClipError(f"Expected {name} of shape {shape}, got {values.shape}.")


def _check_range(name: str, values: np.ndarray, low: float, high: float) -> None:
    # Not (values < low).any(): NaN has to be refused as well.
    if not (values >= low).all() or not (values <= high).all():
        raise InvalidClipError(
            f"Expected {name} within {low} to {high}, got {values.min()} to {values.max()}."
        )
