"""MediaPipe's hands: a detector of palms, and a model of the hand's joints that has to agree.

Zhang et al., "MediaPipe Hands: On-device Real-time Hand Tracking", 2020 (arXiv 2006.10214). The two
models (Apache 2.0) lie in the wheel of the Python package mediapipe 0.10.14, from where they are
read; the package itself is not installed. They run in LiteRT. What stands around the models
(anchors, cuts, thresholds) follows the graphs of that version.

A palm is only taken for a hand if the second model, which sees it cut out and upright, finds a
hand there as well. Its joints give the box, and the way from the knuckles to the wrist says where
the arm is. What it says of the side is not used: seen from the wearer's eyes it is wrong for every
third hand.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from egodtm_robot.core.errors import WeightsError
from egodtm_robot.core.fingerprints import hash_parts
from pretrain.annotate.detectors.base import Detector, FrameBoxes
from pretrain.annotate.errors import AnnotatorOptionError, require_package
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.box_geometry import intersection_over_union, suppress
from pretrain.clips.clip import HAND

MODELS = {
    "mediapipe/modules/palm_detection/palm_detection_full.tflite": (
        "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54"
    ),
    "mediapipe/modules/hand_landmark/hand_landmark_full.tflite": (
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3"
    ),
}
"""The models by their names in the wheel, with their SHA-256."""

PALM_SIDE, HAND_SIDE = 192, 224
"""Rows and columns of the inputs of the two models."""

CODE_VERSION = 1

_STRIDES = ((8, 2), (16, 6))  # of the grids of anchors, and anchors at each point
_PALM_OVERLAP = 0.3
_MOST_HANDS_OVERLAP = 0.5
_ENLARGED, _SHIFTED = 2.6, -0.5  # from the palm's box to the hand's
_WRIST, _MIDDLE = 0, 9  # joints: the wrist and the knuckle of the middle finger
_PALM_WRIST, _PALM_MIDDLE = 0, 2  # the same among the points of a palm


class MediaPipeHands(Detector):
    """Hands of every frame, with the direction of their arms.

    Args:
        weights: path of the wheel of mediapipe 0.10.14, of any platform.
        palm_threshold: least score of a palm.
        threshold: least score of a hand around it.
        most_hands: the surest so many of a frame are kept.
        threads: of LiteRT; it is run in one process a core.
        batch_size: clips handed over at once.

    Raises:
        MissingPackageError: ai-edge-litert is not installed.
        WeightsError: the wheel is missing, or holds other models.
        AnnotatorOptionError: an option is out of range.
    """

    def __init__(
        self,
        weights: str,
        palm_threshold: float = 0.2,
        threshold: float = 0.5,
        most_hands: int = 4,
        threads: int = 1,
        batch_size: int = 8,
    ) -> None:
        if not 0 < palm_threshold < 1 or not 0 < threshold < 1:
            raise AnnotatorOptionError(
                "Expected palm_threshold and threshold in (0, 1), got "
                f"{palm_threshold} and {threshold}."
            )
        if most_hands < 1:
            raise AnnotatorOptionError(f"Expected most_hands of at least 1, got {most_hands}.")
        palm, hand = read_models(Path(weights).expanduser()).values()
        self._palm, self._hand = _Model(palm, threads), _Model(hand, threads)
        self._anchors = anchors()
        self._palm_threshold, self._threshold = palm_threshold, threshold
        self._most_hands = most_hands
        fingerprint = hash_parts(
            "MediaPipeHands",
            CODE_VERSION,
            *MODELS.values(),
            palm_threshold,
            threshold,
            most_hands,
        )
        super().__init__("mediapipe", fingerprint, batch_size)

    def detect(self, clip: AnnotatedClip) -> list[FrameBoxes]:
        """Hands of each frame."""
        return [self.hands(frame) for frame in clip.frames]

    def hands(self, frame: np.ndarray) -> FrameBoxes:
        """Hands of one frame uint8 (H, W, 3), the surest first."""
        image = Image.fromarray(frame)
        found = [self._joints(image, cut) for cut in self._cuts(image)]
        found = [hand for hand in found if hand.score >= self._threshold]
        if not found:
            return FrameBoxes.empty()
        size = np.array([image.width, image.height])
        joints = np.stack([hand.joints for hand in found]) / size
        xyxy = np.concatenate([joints.min(axis=1), joints.max(axis=1)], axis=1).clip(0, 1)
        score = np.array([hand.score for hand in found], np.float32)
        kept = suppress(xyxy, score, _MOST_HANDS_OVERLAP)[: self._most_hands]
        arm = np.stack([hand.joints[_WRIST] - hand.joints[_MIDDLE] for hand in found])[kept]
        return FrameBoxes(
            category=[HAND] * len(kept),
            score=score[kept],
            xyxy=xyxy[kept].astype(np.float32),
            arm=arm / np.maximum(np.linalg.norm(arm, axis=1, keepdims=True), 1e-9),
        )

    def _cuts(self, image: Image.Image) -> "list[Cut]":
        """Where the hand of each palm is."""
        whole = Cut(np.array([image.width, image.height]) / 2, max(image.size), 0.0)
        values, logits = self._palm.run(whole.take(image, PALM_SIDE))
        palms, scores = read_palms(values[0], logits[0, :, 0], self._anchors, self._palm_threshold)
        return [hand_cut(palm, whole) for palm in merge_palms(palms, scores)]

    def _joints(self, image: Image.Image, cut: "Cut") -> "_Hand":
        joints, score, *_ = self._hand.run(cut.take(image, HAND_SIDE))
        return _Hand(cut.to_image(joints.reshape(-1, 3)[:, :2] / HAND_SIDE), score.item())


@dataclass(frozen=True)
class _Hand:
    """Joints (21, 2) in pixels, and score."""

    joints: np.ndarray
    score: float


@dataclass(frozen=True)
class Cut:
    """A turned square of an image.

    Attributes:
        center: x and y in pixels.
        size: of its sides, pixels.
        angle: by which it is turned clockwise, radians.
    """

    center: np.ndarray
    size: float
    angle: float

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) as shares of the square -> pixels of the image."""
        sine, cosine = np.sin(self.angle), np.cos(self.angle)
        turned = (points - 0.5) @ np.array([[cosine, sine], [-sine, cosine]])
        return np.asarray(turned * self.size + self.center)

    def take(self, image: Image.Image, side: int) -> np.ndarray:
        """The square, black where it reaches beyond the image.

        Returns:
            float32 (1, side, side, 3) within [0, 1].
        """
        origin, right, down = self.to_image(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        x, y = (right - origin) / side, (down - origin) / side
        matrix = (x[0], y[0], origin[0], x[1], y[1], origin[1])
        taken = image.transform(
            (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
        return np.asarray(taken, np.float32)[None] / 255.0


def anchors() -> np.ndarray:
    """The middles of the palm model's 2016 anchors, (2016, 2) shares of its input."""
    rows = []
    for stride, count in _STRIDES:
        grid = PALM_SIDE // stride
        y, x = np.mgrid[:grid, :grid]
        middles = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / grid
        rows.append(np.repeat(middles, count, axis=0))
    return np.concatenate(rows)


def read_palms(
    values: np.ndarray, logits: np.ndarray, anchors: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Palms among the anchors.

    Args:
        values: float (2016, 18), middle, size and seven points of a palm, in pixels from
            the anchor.
        logits: float (2016,), of the scores.
        anchors: float (2016, 2), see :func:`anchors`.
        threshold: least score.

    Returns:
        The middle, size and points of each palm, (n, 9, 2) shares of the input, and scores (n,).
    """
    scores = 1 / (1 + np.exp(-logits.clip(-100, 100).astype(np.float64)))
    chosen = np.flatnonzero(scores >= threshold)
    palms = values[chosen].astype(np.float64).reshape(-1, 9, 2) / PALM_SIDE
    palms[:, [0, *range(2, 9)]] += anchors[chosen][:, None]
    return palms, scores[chosen]


def merge_palms(palms: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Palms that overlap become their mean, weighted by their scores.

    Args:
        palms: (n, 9, 2), see :func:`read_palms`.
        scores: (n,).

    Returns:
        (m, 9, 2), the surest first.
    """
    half = palms[:, 1] / 2
    xyxy = np.concatenate([palms[:, 0] - half, palms[:, 0] + half], axis=1)
    left = np.argsort(-scores, kind="stable")
    merged = []
    while len(left):
        alike = intersection_over_union(xyxy[left[:1]], xyxy[left])[0] > _PALM_OVERLAP
        alike[0] = True
        group = left[alike]
        merged.append(np.average(palms[group], axis=0, weights=scores[group]))
        left = left[~alike]
    return np.array(merged).reshape(-1, 9, 2)


def hand_cut(palm: np.ndarray, whole: Cut) -> Cut:
    """The square around the hand of a palm, turned so that its fingers point up.

    Args:
        palm: (9, 2), a row of :func:`merge_palms`.
        whole: the square that its numbers are shares of.
    """
    wrist, middle = palm[2 + _PALM_WRIST], palm[2 + _PALM_MIDDLE]
    x, y = middle - wrist
    angle = float(np.pi / 2 - np.arctan2(-y, x))
    side = float(palm[1].max() * whole.size)
    shift = _SHIFTED * float(palm[1][1] * whole.size)
    center = whole.to_image(palm[0]) + shift * np.array([-np.sin(angle), np.cos(angle)])
    return Cut(center, side * _ENLARGED, angle)


def read_models(wheel: Path) -> Mapping[str, bytes]:
    """The two models of a wheel, checked.

    Raises:
        WeightsError: there is no wheel, or it holds other models.
    """
    advice = "Fetch it with: pip download --no-deps mediapipe==0.10.14"
    if not wheel.is_file():
        raise WeightsError(
            f"Expected the wheel of mediapipe 0.10.14 at {wheel}, got none. {advice}"
        )
    try:
        with zipfile.ZipFile(wheel) as archive:
            models = {name: archive.read(name) for name in MODELS}
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise WeightsError(
            f"Expected {wheel} to be the wheel of mediapipe 0.10.14 with its models of palms and "
            f"hands, which it is not ({type(error).__name__}). {advice}"
        ) from error
    for name, content in models.items():
        if hashlib.sha256(content).hexdigest() != MODELS[name]:
            raise WeightsError(
                f"Expected the {name} of mediapipe 0.10.14 in {wheel}, got another one. {advice}"
            )
    return models


class _Model:
    """A TFLite model of one input."""

    def __init__(self, content: bytes, threads: int) -> None:
        require_package("ai_edge_litert", "ai-edge-litert", "The hand detector of MediaPipe")
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [one["index"] for one in self._interpreter.get_output_details()]

    def run(self, image: np.ndarray) -> list[np.ndarray]:
        """Outputs in the model's order."""
        self._interpreter.set_tensor(self._input, image)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]
