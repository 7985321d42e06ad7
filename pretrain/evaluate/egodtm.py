"""EgoDTM as evaluation tasks take it."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property

import torch

from egodtm_robot.core.configuration import PositiveInt
from egodtm_robot.core.errors import CheckpointError
from egodtm_robot.core.fingerprints import hash_parts, hash_tensors
from pretrain.checkpoints.families import FamilyName
from pretrain.checkpoints.loading import load_model, move_present
from pretrain.checkpoints.shipped import SHIPPED_NAME
from pretrain.model import EgoDTM, VideoFeatures
from pretrain.model.tokenizer import tokenize

_KIND, _VERSION = "egodtm", 1
"""Part of the fingerprint; the version is raised when the code changes what weights mean."""


class EgoDTMModel:
    """The adapter of :class:`pretrain.model.EgoDTM`.

    What a model was not trained for is not offered, since it would be the noise of its initial
    weights: a model that no depth was shown to has no method ``depth``, so that it can't be
    measured on depth. The same holds for ``encode_text`` and ``boxes``.

    Args:
        model: in evaluation mode.
        text: whether it was trained with texts.
        depth: whether it was trained on depth.
        boxes: whether it was trained on boxes.
    """

    frames: int | None = None  # The embeddings of time are interpolated to any number of frames.

    def __init__(
        self, model: EgoDTM, *, text: bool = True, depth: bool = True, boxes: bool = False
    ) -> None:
        self.model = model
        self.name = model.config.name
        self.resolution = model.config.vision.image_size
        self._seen: tuple[torch.Tensor, VideoFeatures] | None = None
        # Attributes, so that what is not offered does not exist.
        if text:
            self.encode_text: Callable[[Sequence[str]], torch.Tensor] = self._text
        if depth:
            self.depth: Callable[[torch.Tensor], torch.Tensor] = self._depth
        if boxes:
            self.boxes: Callable[[torch.Tensor], torch.Tensor] = self._boxes

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights and of what they are weights of."""
        # Parts that a published file lacks have no values.
        tensors = self.model.state_dict().items()
        weights = hash_tensors({name: t for name, t in tensors if not t.is_meta})
        # What serves training alone came after embeddings had been cached under the others.
        config = asdict(self.model.config)
        del config["entity_decoder"], config["region_decoder"]["names"]
        return hash_parts(_KIND, _VERSION, config, weights)

    def to(self, device: torch.device) -> "EgoDTMModel":
        """Move the model to a device, in place."""
        move_present(self.model, device)
        self._seen = None
        return self

    @torch.no_grad()
    def encode_video(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 (B, T, H, W, 3) -> float32 (B, J), of length 1."""
        return self._features(frames).embedding.float()

    @torch.no_grad()
    def patch_tokens(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 (B, T, H, W, 3) -> float32 (B, T, h, w, D), the tokens of the video encoder."""
        features = self._features(frames)
        return features.patch_tokens.unflatten(2, features.grid).float()

    @torch.no_grad()
    def _text(self, texts: Sequence[str]) -> torch.Tensor:
        return self.model.encode_text(tokenize(texts).to(self._device)).float()

    @torch.no_grad()
    def _depth(self, frames: torch.Tensor) -> torch.Tensor:
        features = self._features(frames)
        decoded = self.model.decode_depth(features.patch_tokens, features.grid)
        return decoded.predictions[-1].depth.float()

    @torch.no_grad()
    def _boxes(self, frames: torch.Tensor) -> torch.Tensor:
        return self.model.decode_regions(self._features(frames).patch_tokens)[-1].boxes

    def _features(self, frames: torch.Tensor) -> VideoFeatures:
        # Tasks ask one after another about the same clips; the encoder sees these once.
        if self._seen is None or self._seen[0] is not frames:
            self._seen = (frames, self.model.encode_video(frames.to(self._device)))
        return self._seen[1]

    @property
    def _device(self) -> torch.device:
        return self.model.logit_scale.device


def load_egodtm(
    checkpoint: str | None = SHIPPED_NAME,
    family: FamilyName | None = None,
    frames: PositiveInt | None = None,
) -> EgoDTMModel:
    """The model of a checkpoint of ours, or of a published file.

    Args:
        checkpoint: ``egodtm_tiny`` for the one that comes with the package; a path of weights
            beside their card; or a file of EgoDTM, AVION or OpenAI's CLIP as it was published.
        family: that a published file has to be of; None for any, and for ours.
        frames: most frames of a clip. The embeddings of time of a published file are cut or made
            longer as its family's own code does. None for any number, interpolated.

    Raises:
        WeightsError: the package comes without egodtm-tiny, or a published file cannot be read.
        CheckpointError: the checkpoint is missing, unreadable, of no known family, or of a video
            encoder alone.
        CheckpointMismatchError: its tensors are not those of its family.
    """
    loaded = load_model(checkpoint, family, frames, "video_text_model.checkpoint")
    if loaded.description is not None:
        print(loaded.description, file=sys.stderr)
    if "projection" in loaded.lacking:
        raise CheckpointError(
            f"Expected a checkpoint with a projection to the space shared with texts, {checkpoint} "
            "has none: it is a video encoder alone."
        )
    model = loaded.model
    # Cards of models that no run has trained say nothing; then all that the model has is offered.
    objective = loaded.card.get("objective", {})
    # What it shares with the checkpoint that it changes was trained there.
    shared = loaded.card.get("base", {}).get("objective", {})

    def trained(part: str, default: int) -> bool:
        return max(objective.get(part, default), shared.get(part, 0)) > 0

    adapter = EgoDTMModel(
        model,
        text=trained("text", 1) and "text encoder" not in loaded.lacking,
        depth=trained("depth", 1) and "depth decoder" not in loaded.lacking,
        boxes=trained("region", int(model.region_decoder is not None)),
    )
    if frames is not None:
        adapter.frames = frames
    return adapter
