"""The model: video and text in one space, and the depth of what the video shows."""

import math
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from egodtm_robot.core.errors import ConfigurationError
from pretrain.model.configuration import EgoDTMConfig
from pretrain.model.depth_decoder import DepthDecoder, DepthOutput, DepthPrediction
from pretrain.model.entity_decoder import EntityDecoder, EntityPrediction
from pretrain.model.initialization import initialize
from pretrain.model.region_decoder import RegionDecoder, RegionPrediction
from pretrain.model.text import TextTransformer
from pretrain.model.vision import VisionTransformer


@dataclass
class VideoFeatures:
    """What the video encoder gives for a batch of clips.

    Attributes:
        class_token: (B, D).
        patch_tokens: (B, T, L, D), row-major from the top left.
        embedding: float32 (B, J), of length 1.
        grid: rows and columns of L.
    """

    class_token: torch.Tensor
    patch_tokens: torch.Tensor
    embedding: torch.Tensor
    grid: tuple[int, int]


@dataclass
class EgoDTMOutput:
    """What :meth:`EgoDTM.forward` gives; None for what was not asked for.

    Attributes:
        video: features of the clips.
        text: float32 (B, J), of length 1.
        logit_scale: factor of similarities in the contrastive loss.
        depths: before the decoder's first layer and after each; the last is the result.
        boxes: likewise, of the region decoder.
        further: losses of heads that are trained with the model and are no part of it, by name.
        names: float32 (M, J), of length 1, of the nouns that were asked for.
        entities: of the entity decoder.
    """

    video: VideoFeatures
    text: torch.Tensor | None
    logit_scale: torch.Tensor
    depths: list[DepthPrediction] | None
    boxes: list[RegionPrediction] | None
    further: dict[str, torch.Tensor] = field(default_factory=dict)
    names: torch.Tensor | None = None
    entities: EntityPrediction | None = None


class EgoDTM(nn.Module):
    """Video encoder, text encoder, depth decoder and, if asked for, region and entity decoders.

    Parameters bear the names of published checkpoints without their prefixes, so that weights are
    exchanged tensor by tensor (see :mod:`pretrain.checkpoints`).

    Args:
        config: sizes.
        seed: of the initial weights, which come from it alone; None leaves the parameters without
            values and memory (on the meta device) for whoever loads some.
    """

    def __init__(self, config: EgoDTMConfig, seed: int | None = 0) -> None:
        super().__init__()
        self.config = config
        checkpointing = config.gradient_checkpointing
        # Built without values: torch would draw them from its global generator.
        with torch.device("meta"):
            self.visual = VisionTransformer(config.vision, checkpointing)
            self.textual = TextTransformer(config.text, config.joint_width, checkpointing)
            self.image_projection = nn.Parameter(
                torch.empty(config.vision.width, config.joint_width)
            )
            self.depth_decoder = DepthDecoder(config.depth_decoder, config.vision.width)
            self.region_decoder = (
                RegionDecoder(config.region_decoder, config.vision.width, config.joint_width)
                if config.region_decoder.enabled
                else None
            )
            self.entity_decoder = (
                EntityDecoder(config.entity_decoder, config.vision.width, config.joint_width)
                if config.entity_decoder.enabled
                else None
            )
        if seed is not None:
            self.to_empty(device="cpu")
            initialize(self, torch.Generator().manual_seed(seed))
        # A parameter, as published, but frozen.
        self.logit_scale = nn.Parameter(
            torch.tensor(math.log(1 / config.temperature)), requires_grad=False
        )

    def encode_video(
        self, frames: torch.Tensor, patches: torch.Tensor | None = None
    ) -> VideoFeatures:
        """Encode clips uint8 (B, T, H, W, 3); see :class:`VideoFeatures`.

        Args:
            frames: of the clips.
            patches: of the video encoder, where they have been cut already.
        """
        class_token, patch_tokens = self.visual(frames, patches)
        size = self.config.vision.patch_size
        grid = (frames.shape[2] // size, frames.shape[3] // size)
        embedding = _normalized(class_token @ self.image_projection)
        return VideoFeatures(class_token, patch_tokens, embedding, grid)

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        """Encode ids int64 (B, 77) -> float32 (B, J), of length 1."""
        return _normalized(self.textual(tokens))

    def decode_depth(
        self, patch_tokens: torch.Tensor, grid: tuple[int, int] | None = None
    ) -> DepthOutput:
        """Depth from patch tokens (B, T, L, D) on a grid, by default a square one."""
        return self.depth_decoder(patch_tokens, grid)

    def decode_regions(self, patch_tokens: torch.Tensor) -> list[RegionPrediction]:
        """Boxes from patch tokens (B, T, L, D), after each layer.

        Raises:
            ConfigurationError: the model was configured without the decoder.
        """
        if self.region_decoder is None:
            raise ConfigurationError(
                "Expected a model with a region decoder; set model.region_decoder.enabled=true."
            )
        return self.region_decoder(patch_tokens)

    def find_entities(self, patch_tokens: torch.Tensor) -> EntityPrediction:
        """Entities from patch tokens (B, T, L, D).

        Raises:
            ConfigurationError: the model was configured without the decoder.
        """
        if self.entity_decoder is None:
            raise ConfigurationError(
                "Expected a model with an entity decoder; set model.entity_decoder.enabled=true."
            )
        return self.entity_decoder(patch_tokens)

    def forward(
        self,
        frames: torch.Tensor,
        tokens: torch.Tensor | None = None,
        depth: bool = True,
        regions: bool = False,
        patches: torch.Tensor | None = None,
        names: torch.Tensor | None = None,
        entities: bool = False,
    ) -> EgoDTMOutput:
        """Everything that the objectives of a training step need, in one call.

        Args:
            frames: uint8 (B, T, H, W, 3) RGB.
            tokens: int64 (B, 77) ids of the clips' texts, or None.
            depth: whether to decode depth.
            regions: whether to decode boxes.
            patches: of the frames, see :meth:`encode_video`.
            names: int64 (M, 77) ids of nouns, or None.
            entities: whether to find entities.
        """
        video = self.encode_video(frames, patches)
        return EgoDTMOutput(
            video=video,
            text=None if tokens is None else self.encode_text(tokens),
            logit_scale=self.logit_scale.exp(),
            depths=self.decode_depth(video.patch_tokens, video.grid).predictions if depth else None,
            boxes=self.decode_regions(video.patch_tokens) if regions else None,
            names=None if names is None else self.encode_text(names),
            entities=self.find_entities(video.patch_tokens) if entities else None,
        )


def _normalized(embeddings: torch.Tensor) -> torch.Tensor:
    return functional.normalize(embeddings.float(), dim=-1)
