"""CLIP and SigLIP of transformers as evaluation tasks take them: each frame by itself.

They are models of pictures. A clip's embedding is the mean of its frames' embeddings, each brought
to length 1 before, and brought to length 1 again: the parameter-free pooling of CLIP4Clip (Luo et
al., arXiv 2104.08860).
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, Literal

import torch
from torch.nn import functional

from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.fingerprints import hash_parts, hash_tensors
from egodtm_robot.core.published_models.hub import (
    load_config,
    load_model,
    load_processor_config,
    load_tokenizer,
)
from egodtm_robot.core.published_models.identity import tokenizer_identity
from egodtm_robot.core.published_models.preprocessing import Preprocessing, processor_size
from pretrain.model.tokenizer import CONTEXT, END, tokenize

_KIND, _VERSION = "frames", 1
"""Part of the fingerprint; the version is raised when the code changes what weights mean."""

_FRAMES_AT_ONCE = 32

Kind = Literal["clip", "siglip"]


class FrameModel:
    """A model of pictures and texts, over the frames of clips.

    Args:
        model: a ``CLIPModel`` or ``SiglipModel`` in evaluation mode.
        kind: which of them.
        preprocessing: from frames to its pixels.
        name: what tables call it.
        tokenizer: of SigLIP; CLIP's comes with the package.
        identity: what tells the tokenizer apart, as values JSON can hold.
    """

    frames: int | None = None

    def __init__(
        self,
        model: Any,
        kind: Kind,
        preprocessing: Preprocessing,
        name: str,
        tokenizer: Any | None = None,
        identity: Sequence[Any] = (),
    ) -> None:
        self.model = model
        self.name = name
        self._kind = kind
        self._preprocessing = preprocessing
        self._tokenizer = tokenizer
        self._identity = identity
        vision = model.config.vision_config
        self.resolution = processor_size(vision.image_size)[0]
        side = self.resolution // vision.patch_size
        self._grid = (side, side)
        self._seen: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights, of what they are weights of, and of preprocessing."""
        return hash_parts(
            _KIND,
            _VERSION,
            self._kind,
            self.model.config.to_diff_dict(),
            asdict(self._preprocessing),
            list(self._identity),
            hash_tensors(self.model.state_dict()),
        )

    def to(self, device: torch.device) -> "FrameModel":
        """Move the model to a device, in place."""
        self.model.to(device)
        self._seen = None
        return self

    @torch.no_grad()
    def encode_video(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 (B, T, H, W, 3) -> float32 (B, J), of length 1."""
        return self._features(frames)[0]

    @torch.no_grad()
    def patch_tokens(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 (B, T, H, W, 3) -> float32 (B, T, h, w, D), as transformers gives them."""
        return self._features(frames)[1]

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """B texts -> float32 (B, J), of length 1."""
        device = self.model.device
        if self._kind == "clip":
            # Behind the end mark padding has no effect: the text encoder is causal.
            pooled = self.model.text_model(input_ids=tokenize(texts).to(device)).pooler_output
            return functional.normalize(self.model.text_projection(pooled), dim=-1)
        assert self._tokenizer is not None
        # Trained on lower case, padded to the full length, without a mask.
        ids = self._tokenizer(
            [text.lower() for text in texts],
            return_tensors="pt",
            padding="max_length",
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
        )["input_ids"]
        pooled = self.model.text_model(input_ids=ids.to(device)).pooler_output
        return functional.normalize(pooled, dim=-1)

    def _features(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings of clips (B, J) and patch tokens (B, T, h, w, D)."""
        # Tasks ask one after another about the same clips; the encoder sees these once.
        if self._seen is None or self._seen[0] is not frames:
            embeddings, patches = [], []
            for part in frames.flatten(0, 1).split(_FRAMES_AT_ONCE):
                pixels = self._preprocessing(part.to(self.model.device))
                seen = self.model.vision_model(pixel_values=pixels)
                pooled = seen.pooler_output
                if self._kind == "clip":
                    pooled = self.model.visual_projection(pooled)
                embeddings.append(functional.normalize(pooled, dim=-1))
                count = self._grid[0] * self._grid[1]
                patches.append(seen.last_hidden_state[:, -count:].unflatten(1, self._grid))
            shape = frames.shape[:2]
            mean = torch.cat(embeddings).unflatten(0, shape).mean(dim=1)
            self._seen = (
                frames,
                functional.normalize(mean, dim=-1),
                torch.cat(patches).unflatten(0, shape),
            )
        return self._seen[1], self._seen[2]


def load_frame_model(model: str, revision: str | None = None) -> FrameModel:
    """A CLIP or SigLIP by hub id or from a folder.

    Args:
        model: hub id such as ``openai/clip-vit-base-patch16`` or
            ``google/siglip2-base-patch16-224``, or a folder as ``save_pretrained`` writes it, with
            ``preprocessor_config.json`` and, for SigLIP, its tokenizer.
        revision: branch, tag or commit on the hub.

    Raises:
        WeightsError: the model, its processor file or its tokenizer is not to be had.
        CheckpointMismatchError: its tensors do not fit its configuration.
        ConfigurationError: it is of another kind.
    """
    from transformers import CLIPModel, SiglipModel

    config = load_config(model, revision)
    classes: dict[str, Any] = {"clip": CLIPModel, "siglip": SiglipModel}
    kind = config.model_type
    if kind not in classes:
        advice = (
            " SigLIP 2 of flexible size (naflex) takes other inputs; choose one of fixed size."
            if kind == "siglip2"
            else ""
        )
        raise ConfigurationError(
            f"Expected video_text_model.model to name a CLIP or a SigLIP, {model} is of type "
            f"{kind}.{advice}"
        )
    tokenizer, identity = None, list[Any]()
    if kind == "siglip":
        tokenizer = load_tokenizer(model, revision)
        identity = tokenizer_identity(tokenizer)
    elif config.text_config.vocab_size != END + 1:
        raise ConfigurationError(
            f"Expected a CLIP over its {END + 1} tokens, {model} has "
            f"{config.text_config.vocab_size}."
        )
    elif config.text_config.max_position_embeddings != CONTEXT:
        raise ConfigurationError(
            f"Expected a CLIP with texts of {CONTEXT} tokens, {model} has "
            f"{config.text_config.max_position_embeddings}."
        )
    processor = load_processor_config(model, revision)
    loaded = load_model(classes[kind], model, revision)
    side = processor_size(loaded.config.vision_config.image_size)
    return FrameModel(
        loaded,
        kind,
        Preprocessing.from_processor(processor, (side[0], side[-1]), None),
        f"{kind}:{model.rstrip('/').rpartition('/')[2]}",
        tokenizer,
        identity,
    )
