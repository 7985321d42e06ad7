"""Hands and objects by detectors that are asked in words: Grounding DINO and OWLv2.

Grounding DINO: Liu et al., 2023 (arXiv 2303.05499), which reads all phrases as one sentence and
scores its words; OWLv2: Minderer et al., "Scaling Open-Vocabulary Object Detection", 2023 (arXiv
2306.09683), which compares boxes with one embedding a phrase. Objects are those that the clip's
narration names, which is what later stages speak of.

Words and pictures are prepared here: transformers' own processors need torchvision, and they give
phrases back as text that has to be guessed to phrases again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from egodtm_robot.core.devices import pick_device
from egodtm_robot.core.fingerprints import hash_parts, hash_tensors
from egodtm_robot.core.images import resize, to_channels_first
from egodtm_robot.core.published_models.hub import load_model, load_processor_config, load_tokenizer
from egodtm_robot.core.published_models.preprocessing import Normalization, processor_interpolation
from pretrain.annotate.captions.nouns import parse
from pretrain.annotate.detectors.base import Detector, FrameBoxes
from pretrain.annotate.detectors.trained import corners
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.box_geometry import suppress
from pretrain.clips.clip import HAND

CODE_VERSION = 2

GROUNDED = ("grounding-dino", "mm-grounding-dino")
EMBEDDED = ("owlv2", "owlvit")
"""Kinds of models by ``model_type``, by how they read phrases."""

OWL_WORDS = 16
"""Tokens of a phrase that OWL's text tower was trained on."""


@dataclass(frozen=True)
class ShownPictures:
    """Pictures as a model takes them.

    Attributes:
        pixels: float32 (N, 3, h, w).
        extent: width and height of what is seen as shares of the original picture; more than 1
            where it was padded.
    """

    pixels: torch.Tensor
    extent: tuple[float, float]


class ZeroShotDetector(Detector):
    """A detector that is asked for hands and for the things that the narration names.

    Args:
        model: hub id such as ``IDEA-Research/grounding-dino-tiny`` or
            ``google/owlv2-base-patch16-ensemble``, or a folder with the model, its tokenizer and
            ``preprocessor_config.json``.
        revision: branch, tag or commit on the hub.
        hands: whether hands are asked for.
        also: things to ask for beside those of the narration.
        threshold: least score; Grounding DINO's authors use 0.3, OWLv2's scores are lower.
        most_overlap: intersection over union up to which two boxes of a phrase are two things.
        most_each: the surest so many boxes of a phrase are kept in a frame; twice as many hands.
        batch_size: clips handed over at once.
        device: ``auto``, or as torch names it.

    Raises:
        WeightsError: model, tokenizer or processor file are not to be had or not readable.
        AnnotatorOptionError: the model is of another kind, an option is out of range, or there is
            no such device.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        hands: bool = True,
        also: Sequence[str] = (),
        threshold: float = 0.3,
        most_overlap: float = 0.5,
        most_each: int = 2,
        batch_size: int = 2,
        device: str = "auto",
    ) -> None:
        from transformers import AutoModelForZeroShotObjectDetection

        if not 0 < threshold < 1 or not 0 <= most_overlap < 1 or most_each < 1:
            raise AnnotatorOptionError(
                "Expected threshold in (0, 1), most_overlap in [0, 1) and most_each of at least 1, "
                f"got {threshold}, {most_overlap} and {most_each}."
            )
        self._processor = load_processor_config(model, revision)
        self._device = pick_device(device)
        self._model = load_model(AutoModelForZeroShotObjectDetection, model, revision)
        self.kind = str(self._model.config.model_type)
        if self.kind not in (*GROUNDED, *EMBEDDED):
            raise AnnotatorOptionError(
                f"Expected a model of a kind among {', '.join((*GROUNDED, *EMBEDDED))}, got "
                f"{self.kind}."
            )
        self._tokenizer = load_tokenizer(model, revision)
        self.asks_for_hands = hands
        self.also = tuple(also)
        self.threshold = threshold
        self.most_overlap = most_overlap
        self.most_each = most_each
        self._normalization = Normalization.from_processor(self._processor)
        fingerprint = hash_parts(
            "ZeroShotDetector",
            CODE_VERSION,
            [hands, self.also, threshold, most_overlap, most_each],
            self._model.config.to_diff_dict(),
            self._processor,
            hash_tensors(self._model.state_dict()),
        )
        super().__init__(self.kind, fingerprint, batch_size)
        self._model.to(self._device)

    def phrases(self, narration: str) -> list[str]:
        """What a clip is searched for, by its narration."""
        asked = [HAND] if self.asks_for_hands else []
        # Each once: a phrase that stands twice shares its score with itself.
        return list(dict.fromkeys([*asked, *parse(narration).nouns, *self.also]))

    def detect(self, clip: AnnotatedClip) -> list[FrameBoxes]:
        """Hands and objects of each frame."""
        phrases = self.phrases(clip.narration)
        if not phrases:
            return [FrameBoxes.empty() for _ in clip.frames]
        xyxy, scores = self.scores(clip.frames, phrases)
        return [self._chosen(xyxy[t], scores[t], phrases) for t in range(len(clip.frames))]

    @torch.inference_mode()
    def scores(self, frames: np.ndarray, phrases: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """All boxes of a model, and how well each phrase fits them.

        Args:
            frames: uint8 (N, H, W, 3).
            phrases: what is searched for, p in all.

        Returns:
            Boxes (N, q, 4), left, top, right, bottom as shares of the picture, which may reach
            beyond it, and scores (N, q, p).
        """
        shown = self._shown(torch.from_numpy(frames).to(self._device))
        if self.kind in EMBEDDED:
            boxes, scores = self._embedded(shown, phrases)
        else:
            boxes, scores = self._grounded(shown, phrases)
        xyxy = corners(boxes.float().cpu().numpy())
        return xyxy * np.array([*shown.extent, *shown.extent]), scores.float().cpu().numpy()

    def _embedded(
        self, shown: ShownPictures, phrases: Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (N, q, 4) and scores (N, q, p) of OWL."""
        # The wording that its authors evaluate with.
        texts = [f"a photo of a {phrase}" for phrase in phrases]
        tokens = self._tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=OWL_WORDS,
            return_tensors="pt",
        ).to(self._device)
        count = len(shown.pixels)
        outputs = self._model(
            input_ids=tokens.input_ids.repeat(count, 1),
            attention_mask=tokens.attention_mask.repeat(count, 1),
            pixel_values=shown.pixels,
        )
        return outputs.pred_boxes, outputs.logits.sigmoid()

    def _grounded(
        self, shown: ShownPictures, phrases: Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (N, q, 4) and scores (N, q, p) of Grounding DINO.

        All phrases stand in one sentence, "hand. red mug. drawer.", and a phrase scores as its best
        word, as in its authors' code. Phrases beyond the longest sentence are left unsearched.
        """
        tokenizer = self._tokenizer
        stop = tokenizer.convert_tokens_to_ids(".")
        ids, spans = [tokenizer.cls_token_id], []
        longest = int(getattr(self._model.config, "max_text_len", 256)) - 1
        for phrase in phrases:
            words = tokenizer(phrase.lower(), add_special_tokens=False).input_ids
            if len(ids) + len(words) + 1 > longest:
                break
            spans.append((len(ids), len(ids) + len(words)))
            ids += [*words, stop]
        sentence = torch.tensor([[*ids, tokenizer.sep_token_id]], device=self._device)
        sentence = sentence.expand(len(shown.pixels), -1)
        outputs = self._model(
            pixel_values=shown.pixels,
            input_ids=sentence,
            token_type_ids=torch.zeros_like(sentence),
            attention_mask=torch.ones_like(sentence),
        )
        words = outputs.logits.sigmoid()
        scores = words.new_zeros((*words.shape[:2], len(phrases)))
        for place, (start, end) in enumerate(spans):
            if end > start:
                scores[..., place] = words[..., start:end].amax(dim=-1)
        return outputs.pred_boxes, scores

    def _shown(self, frames: torch.Tensor) -> ShownPictures:
        """Frames uint8 (N, H, W, 3) as the model takes them."""
        pixels = to_channels_first(frames)
        height, width = int(pixels.shape[-2]), int(pixels.shape[-1])
        size = self._processor.get("size", {})
        interpolation = processor_interpolation(self._processor, "bilinear")
        if self.kind in GROUNDED:
            shorter = int(size.get("shortest_edge", 800))
            longer = int(size.get("longest_edge", 1333))
            factor = min(shorter / min(height, width), longer / max(height, width))
            target = (max(1, round(height * factor)), max(1, round(width * factor)))
            resized = resize(pixels, target, interpolation)
            return ShownPictures(self._normalization(resized), (1.0, 1.0))
        extent = (1.0, 1.0)
        if self.kind == "owlv2":
            side = max(height, width)
            pixels = functional.pad(pixels, (0, side - width, 0, side - height))
            extent = (side / width, side / height)
        side = int(self._model.config.vision_config.image_size)
        target = (int(size.get("height", side)), int(size.get("width", side)))
        return ShownPictures(self._normalization(resize(pixels, target, interpolation)), extent)

    def _chosen(self, xyxy: np.ndarray, scores: np.ndarray, phrases: Sequence[str]) -> FrameBoxes:
        """Boxes (q, 4) with scores (q, p) -> those that count, each under its best phrase."""
        best, score = scores.argmax(axis=1), scores.max(axis=1)
        xyxy = xyxy.clip(0, 1)
        large = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
        kept: list[int] = []
        for place, phrase in enumerate(phrases):
            own = np.flatnonzero((best == place) & (score >= self.threshold) & large)
            most = self.most_each * (2 if phrase == HAND else 1)
            kept += own[suppress(xyxy[own], score[own], self.most_overlap)[:most]].tolist()
        return FrameBoxes([phrases[best[index]] for index in kept], score[kept], xyxy[kept])
