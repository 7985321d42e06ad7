"""LaViLa, EgoVLP and EgoVLPv2 as evaluation tasks take them."""

import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch

from egodtm_robot.core.configuration import PositiveInt
from egodtm_robot.core.errors import CheckpointError, WeightsError
from egodtm_robot.core.fingerprints import hash_parts, hash_tensors
from egodtm_robot.core.images import central_squares
from egodtm_robot.core.published_models.identity import tokenizer_identity
from pretrain.checkpoints.timesformers import FamilyName, read_timesformer
from pretrain.model.dual_encoder import DualEncoder
from pretrain.model.language_model import LanguageModelText

_KIND, _VERSION = "timesformer", 1
"""Part of the fingerprint; the version is raised when the code changes what weights mean."""

_CLIPS_AT_ONCE = 8
"""Clips a forward pass: the long side of a TimeSformer-L's memory."""


class TimeSformerModel:
    """The adapter of :class:`pretrain.model.dual_encoder.DualEncoder`.

    Args:
        model: in evaluation mode.
        name: what tables call it.
        identity: what decides its outputs besides weights, as values JSON can hold.
        text: whether it encodes texts.
    """

    def __init__(
        self, model: DualEncoder, name: str, identity: dict[str, Any], text: bool = True
    ) -> None:
        self.model = model
        self.name = name
        self.frames: int | None = model.visual.config.frames
        self.resolution = model.visual.config.image_size
        self._identity = identity
        if text:
            # An attribute, so that what is not offered does not exist.
            self.encode_text: Callable[[Sequence[str]], torch.Tensor] = self._text
        self._seen: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights and of what they are weights of."""
        return hash_parts(_KIND, _VERSION, self._identity, hash_tensors(self.model.state_dict()))

    def to(self, device: torch.device) -> "TimeSformerModel":
        """Move the model to a device, in place."""
        self.model.to(device)
        self._seen = None
        return self

    @torch.no_grad()
    def encode_video(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 (B, T, H, W, 3) -> float32 (B, J), of length 1."""
        return self.model.embed_video(self._features(frames)[0])

    @torch.no_grad()
    def patch_tokens(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 (B, T, H, W, 3) -> float32 (B, T, h, w, D), behind the last norm."""
        return self._features(frames)[1].unflatten(2, self.model.visual.config.grid)

    @torch.no_grad()
    def _text(self, texts: Sequence[str]) -> torch.Tensor:
        return self.model.embed_texts(texts)

    def _features(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Class token and patch tokens of clips of any size: their central squares."""
        # Tasks ask one after another about the same clips; the encoder sees these once.
        if self._seen is None or self._seen[0] is not frames:
            device = self.model.visual.cls_token.device
            parts = []
            for part in frames.split(_CLIPS_AT_ONCE):
                squares = central_squares(part.to(device).flatten(0, 1), self.resolution)
                parts.append(self.model.visual(squares.unflatten(0, part.shape[:2])))
            class_tokens, patch_tokens = zip(*parts, strict=True)
            self._seen = (frames, torch.cat(class_tokens), torch.cat(patch_tokens))
        return self._seen[1], self._seen[2]


def load_timesformer(
    checkpoint: str | None = None,
    family: FamilyName | None = None,
    frames: PositiveInt | None = None,
    tokenizer: str | None = None,
) -> TimeSformerModel:
    """The model of a published file.

    Args:
        checkpoint: a file as its training script wrote it (``.pt``, ``.pth``), or a safetensors
            file of the same tensors.
        family: that the file has to be of; None for any.
        frames: frames of a clip, for which the embeddings of time are cut or made longer as the
            family's own code does; None for those of the file.
        tokenizer: hub id or folder of the tokenizer of files with DistilBERT or RoBERTa; None for
            ``distilbert-base-uncased`` or ``roberta-base``. CLIP's comes with the package.

    Raises:
        CheckpointError: no file is named, there is none, it is of another family, or it is a video
            encoder alone.
        WeightsError: the file cannot be read, or the tokenizer is not to be had.
        CheckpointMismatchError: its tensors are not those of its family.
    """
    published = read_timesformer(checkpoint, family, "video_text_model.checkpoint")
    print(published.describe(), file=sys.stderr)
    if frames is not None:
        published = published.with_frames(frames)
    if "projection" in published.lacking:
        raise CheckpointError(
            f"Expected a checkpoint with a projection to the space shared with texts, {checkpoint} "
            "has none: it is a video encoder alone."
        )
    has_text = published.text is not None
    try:
        model = published.build(tokenizer, text=has_text)
    except WeightsError as error:  # nothing else is fetched here
        raise WeightsError(f"{error} Set video_text_model.tokenizer to it.") from error
    identity = published.identity()
    if isinstance(model.textual, LanguageModelText):
        identity["tokenizer"] = tokenizer_identity(model.textual.tokenizer)
    name = f"{published.family.name}:{published.origin.name}"
    return TimeSformerModel(model, name, identity, has_text)
