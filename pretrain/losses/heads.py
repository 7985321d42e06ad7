"""A model in training, with the heads of objectives that are no part of what it is."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from egodtm_robot.core.errors import ConfigurationError
from pretrain.losses.anchor import StemAnchor
from pretrain.losses.crop import crop_loss, crop_patches, draw_crops
from pretrain.losses.dense import dense_losses
from pretrain.losses.features import feature_loss
from pretrain.losses.looks import LooksLoss
from pretrain.losses.objective import ObjectiveConfig
from pretrain.model import EgoDTM, EgoDTMOutput, VideoFeatures
from pretrain.model.crop_decoder import CropDecoder
from pretrain.model.dense_head import DenseHead
from pretrain.model.feature_translator import FeatureTranslator
from pretrain.model.initialization import initialize_head
from pretrain.model.stem import EfficientNetStem

# A stream of random numbers that never meets those of the data.
_CROPS = 2


class ModelWithHeads(nn.Module):
    """Called like the model, and gives the losses of its heads beside the model's output.

    The heads are trained and resumed with the model. Checkpoints hold the model alone.

    Args:
        model: what is trained.
        objective: with a weight above 0 for one of the heads.
        seed: of the heads' initial weights, and of crops.
        teacher_channels: D of the teacher's tokens; None without a teacher.

    Raises:
        ConfigurationError: a head needs the stem, and the model has none.
        WeightsError: the stem's published weights are not installed.
    """

    def __init__(
        self, model: EgoDTM, objective: ObjectiveConfig, seed: int, teacher_channels: int | None
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self._seed = seed
        self._random: np.random.Generator | None = None
        vision = model.config.vision
        side = vision.image_size // vision.patch_size
        stem, width = EfficientNetStem.channels, vision.width
        if objective.reads_stem and model.visual.stem is None:
            raise ConfigurationError(
                "Expected a model with a stem for objective.anchor or looks, or for a crop, a "
                "teacher or dense truth at the stem; set model.vision.stem=efficientnet_lite0, or "
                "objective.crop_decoder.source=class, objective.distill_into=patches or "
                "objective.dense.attach=patches."
            )
        # Built without values: torch would draw them from its global generator.
        with torch.device("meta"):
            self.crop = None
            if objective.crop:
                config, behind = objective.crop_decoder, objective.crop_decoder.source == "class"
                self.crop = CropDecoder(config, width if behind else stem, 1 if behind else side**2)
            self.teacher = None
            if teacher_channels is not None:
                channels = stem if objective.distill_into == "stem" else width
                self.teacher = FeatureTranslator(channels, teacher_channels, 2 * width)
            self.dense = None
            if objective.dense.weights:
                dense = objective.dense
                channels = stem if dense.attach == "stem" else width
                self.dense = DenseHead(
                    dense.weights, channels, dense.hidden, dense.cells, dense.embedding
                )
        for head in (self.crop, self.teacher, self.dense):
            if head is not None:
                head.to_empty(device="cpu")
        self.anchor = StemAnchor() if objective.anchor else None
        self.looks = None
        if objective.looks:
            assert model.visual.stem is not None
            self.looks = LooksLoss(model.visual.stem, objective.looks_loss)
        heads: tuple[nn.Module | None, ...] = (self.crop, self.teacher, self.anchor, self.dense)
        for place, one in enumerate(heads):
            if one is None:
                continue
            draws = np.random.SeedSequence([seed, place]).generate_state(1)
            generator = torch.Generator().manual_seed(int(draws[0]))
            if isinstance(one, DenseHead):
                one.reset_parameters(generator)
            else:
                initialize_head(one, generator)

    def begin_step(self, step: int, process: int) -> None:
        """Draw what a step draws from its number alone, so that a resumed run draws the same."""
        self._random = np.random.default_rng([self._seed, _CROPS, step, process])

    def forward(
        self,
        frames: torch.Tensor,
        tokens: torch.Tensor | None = None,
        *,
        teacher: torch.Tensor | None = None,
        dense: Mapping[str, torch.Tensor] | None = None,
        **parts: Any,
    ) -> EgoDTMOutput:
        """The model's output, with the losses of the heads in ``further``.

        Args:
            frames: uint8 (B, T, H, W, 3) RGB.
            tokens: see :meth:`EgoDTM.forward`.
            teacher: float32 (B, T, L, D), the teacher's tokens on the model's grid.
            dense: truth by kind, see :class:`~pretrain.clips.dataset.ClipBatch`.
            **parts: of the output, see :meth:`EgoDTM.forward`.
        """
        size = self.model.config.vision.patch_size
        grid = (frames.shape[2] // size, frames.shape[3] // size)
        features = patches = None
        if self.objective.reads_stem:
            assert self.model.visual.stem is not None
            features = self.model.visual.stem.features(frames)
            patches = self.model.visual.stem.norm(features)
        if self.objective.only_stem:
            assert features is not None
            output = _without_blocks(self.model, features, grid)
        else:
            output = self.model(frames, tokens, **parts, patches=patches)
        if self.anchor is not None:
            assert features is not None
            output.further["anchor"] = self.anchor(frames, features, grid)
        if self.looks is not None:
            assert features is not None
            assert dense is not None
            assert self.model.visual.stem is not None
            other = self.model.visual.stem.features(dense["looks"])
            output.further["looks"] = self.looks(frames, dense["looks"], features, other)
        if self.crop is not None:
            output.further["crop"] = self._crop_loss(frames, features, output.video)
        if self.teacher is not None:
            assert teacher is not None
            at_stem = self.objective.distill_into == "stem"
            seen = features if at_stem else output.video.patch_tokens
            assert seen is not None
            predicted = self.teacher(seen.flatten(0, 1), grid)
            output.further["distill"] = feature_loss(predicted, teacher.flatten(0, 1))
        if self.dense is not None:
            assert dense is not None
            tokens_seen = output.video.patch_tokens
            if self.objective.dense.attach == "stem":
                assert patches is not None
                tokens_seen = patches
            predictions = self.dense(tokens_seen, grid)
            output.further.update(dense_losses(predictions, dense, self.objective.dense))
        return output

    def _crop_loss(
        self, frames: torch.Tensor, features: torch.Tensor | None, video: VideoFeatures
    ) -> torch.Tensor:
        assert self.crop is not None
        assert self._random is not None, "begin_step was not called"
        config = self.objective.crop_decoder
        draw = draw_crops(len(frames), config, self._random)
        visible = draw.visible.to(frames.device)
        patches = crop_patches(frames[:, -1], draw.boxes.to(frames.device), config)
        if config.source == "class":
            whole = video.class_token[:, None]
        else:
            assert features is not None
            whole = features[:, -1]
        return crop_loss(self.crop(whole, patches, visible), patches, visible)


def _without_blocks(model: EgoDTM, features: torch.Tensor, grid: tuple[int, int]) -> EgoDTMOutput:
    """The output where nothing behind the stem is asked for: its features stand for tokens."""
    nothing = features.new_zeros(len(features), 0)
    video = VideoFeatures(nothing, features, nothing, grid)
    return EgoDTMOutput(video, None, model.logit_scale.exp(), None, None)
