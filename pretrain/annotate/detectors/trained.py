"""Hands and objects by a detector with classes of its own: RT-DETR or D-FINE.

RT-DETR: Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection", 2023 (arXiv 2304.08069);
D-FINE: Peng et al., 2024 (arXiv 2410.13842). Both predict boxes as a set, and need little or no
suppression. ``python -m pretrain.train_detector`` trains one; published ones know objects but no
hands. Labels "left hand" and "right hand" tell the side, "hand" leaves it to the rule.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from egodtm_robot.core.devices import pick_device
from egodtm_robot.core.fingerprints import hash_parts, hash_tensors
from egodtm_robot.core.images import Interpolation, resize, to_channels_first
from egodtm_robot.core.published_models.hub import load_model, load_processor_config
from egodtm_robot.core.published_models.preprocessing import Normalization, processor_interpolation
from pretrain.annotate.captions.nouns import head, parse
from pretrain.annotate.detectors.base import Detector, FrameBoxes
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.box_geometry import suppress
from pretrain.clips.clip import HAND, LEFT, NO_SIDE, RIGHT

CODE_VERSION = 2

MODEL_KINDS = ("rt_detr", "rt_detr_v2", "d_fine", "ttfnet")
"""By ``model_type`` of their configurations; all of them score classes by a sigmoid."""

SIDE_OF_LABEL = {"left hand": LEFT, "right hand": RIGHT, HAND: NO_SIDE}
"""Labels of hands, and the sides that they tell."""


@dataclass(frozen=True)
class DetectorPreprocessing:
    """What a processor file of a detector asks for.

    Attributes:
        size: (height, width) of the input; the aspect is not kept.
        interpolation: of the resize.
        normalization: of gray levels.
    """

    size: tuple[int, int]
    interpolation: Interpolation
    normalization: Normalization

    @classmethod
    def of_processor(cls, processor: Mapping[str, Any]) -> "DetectorPreprocessing":
        """Read the content of ``preprocessor_config.json``.

        Raises:
            AnnotatorOptionError: it names no height and width.
        """
        size = processor.get("size", {"height": 640, "width": 640})
        if not isinstance(size, Mapping) or not {"height", "width"} <= set(size):
            raise AnnotatorOptionError(
                f"Expected a processor with the height and width of its pictures, got size={size}."
            )
        plain = {"do_normalize": False, **processor}
        return cls(
            size=(int(size["height"]), int(size["width"])),
            interpolation=processor_interpolation(processor, "bilinear"),
            normalization=Normalization.from_processor(plain),
        )

    def identity(self) -> dict[str, Any]:
        """What enters a fingerprint."""
        parts = asdict(self)
        # Spelled as in the fingerprints that prepared stores hold.
        parts["normalisation"] = parts.pop("normalization")
        return parts

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """uint8 (N, H, W, 3) -> normalized float32 (N, 3, h, w)."""
        return self.normalization(resize(to_channels_first(frames), self.size, self.interpolation))


THRESHOLD, NARRATED_THRESHOLD = 0.3, 0.15
"""Least scores for what ``train_detector`` makes; docs/results/annotators.md says how they were
chosen."""


class TrainedDetector(Detector):
    """A detector by hub id or local path.

    Args:
        model: folder that ``python -m pretrain.train_detector`` wrote, or a hub id such as
            ``PekingU/rtdetr_r18vd``.
        revision: branch, tag or commit on the hub.
        threshold: least score. Published detectors are surer of themselves than those of
            ``train_detector``: 0.4 suits them.
        narrated_threshold: least score of the things that the clip's narration names: they are
            there more often than not, so that less has to be seen of them.
        most_overlap: intersection over union up to which the boxes of two hands, or of two objects,
            are of two things.
        most_boxes: the surest so many of a frame are kept.
        batch_size: clips handed over at once.
        device: ``auto``, or as torch names it.

    Raises:
        WeightsError: the model, or its processor file, is not to be had or not readable.
        AnnotatorOptionError: the model is of another kind, an option is out of range, or there is
            no such device.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        threshold: float = THRESHOLD,
        narrated_threshold: float = NARRATED_THRESHOLD,
        most_overlap: float = 0.7,
        most_boxes: int = 20,
        batch_size: int = 8,
        device: str = "auto",
    ) -> None:
        from transformers import AutoModelForObjectDetection

        import pretrain.annotate.detectors.ttfnet  # noqa: F401 -- known to transformers then

        if (
            not (0 < threshold < 1 and 0 < narrated_threshold < 1)
            or not 0 <= most_overlap < 1
            or most_boxes < 1
        ):
            raise AnnotatorOptionError(
                "Expected threshold and narrated_threshold in (0, 1), most_overlap in [0, 1) and "
                f"most_boxes of at least 1, got {threshold}, {narrated_threshold}, {most_overlap} "
                f"and {most_boxes}."
            )
        processor = load_processor_config(model, revision)
        self._device = pick_device(device)
        self._model = load_model(AutoModelForObjectDetection, model, revision)
        kind = self._model.config.model_type
        if kind not in MODEL_KINDS:
            raise AnnotatorOptionError(
                f"Expected a detector of a kind among {', '.join(MODEL_KINDS)}, got {kind}."
            )
        names = self._model.config.id2label
        self.labels = tuple(str(names[index]) for index in range(len(names)))
        self.preprocessing = DetectorPreprocessing.of_processor(processor)
        self.threshold = threshold
        self.narrated_threshold = narrated_threshold
        self.most_overlap = most_overlap
        self.most_boxes = most_boxes
        fingerprint = hash_parts(
            "TrainedDetector",
            CODE_VERSION,
            threshold,
            narrated_threshold,
            most_overlap,
            most_boxes,
            self._model.config.to_diff_dict(),
            self.preprocessing.identity(),
            hash_tensors(self._model.state_dict()),
        )
        super().__init__(kind, fingerprint, batch_size)
        self._model.to(self._device)

    @torch.inference_mode()
    def detect(self, clip: AnnotatedClip) -> list[FrameBoxes]:
        """Hands and objects of each frame."""
        frames = torch.from_numpy(clip.frames).to(self._device)
        outputs = self._model(pixel_values=self.preprocessing(frames))
        scores = outputs.logits.float().sigmoid().cpu().numpy()
        xyxy = corners(outputs.pred_boxes.float().cpu().numpy())
        thresholds = self._thresholds(clip.narration)
        return [self._chosen(xyxy[t], scores[t], thresholds) for t in range(len(frames))]

    def _thresholds(self, narration: str) -> np.ndarray:
        """The least score of each label, float (labels,)."""
        narrated = {head(noun) for noun in parse(narration).nouns}
        return np.array(
            [
                self.narrated_threshold
                if label not in SIDE_OF_LABEL and head(label) in narrated
                else self.threshold
                for label in self.labels
            ]
        )

    def _chosen(self, xyxy: np.ndarray, scores: np.ndarray, thresholds: np.ndarray) -> FrameBoxes:
        """Boxes (queries, 4) with scores (queries, labels) -> those that count.

        A box is of the label whose score is most times its least one; where two boxes are of one
        place, the one for which that is more is kept, whatever their labels.
        """
        margins = scores / thresholds
        best, margin = margins.argmax(axis=1), margins.max(axis=1)
        score = np.take_along_axis(scores, best[:, None], axis=1)[:, 0]
        candidates = np.flatnonzero(margin >= 1)
        is_hand = np.array([label in SIDE_OF_LABEL for label in self.labels], bool)[best]
        kept: list[int] = []
        # What a hand holds may well fill its box.
        for own in (candidates[is_hand[candidates]], candidates[~is_hand[candidates]]):
            kept += own[suppress(xyxy[own], margin[own], self.most_overlap)].tolist()
        kept = sorted(kept, key=lambda index: -score[index])[: self.most_boxes]
        names = [self.labels[best[index]] for index in kept]
        tells_side = any(name in ("left hand", "right hand") for name in self.labels)
        return FrameBoxes(
            category=[HAND if name in SIDE_OF_LABEL else name for name in names],
            score=score[kept],
            xyxy=xyxy[kept],
            side=(
                np.array([SIDE_OF_LABEL.get(name, NO_SIDE) for name in names], np.int8)
                if tells_side
                else None
            ),
        )


def corners(boxes: np.ndarray) -> np.ndarray:
    """Middles and sizes (..., 4) -> left, top, right, bottom."""
    middle, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([middle - half, middle + half], axis=-1)
