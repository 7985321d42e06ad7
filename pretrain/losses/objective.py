"""What a model is trained for: the weighted losses of one batch."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from egodtm_robot.core.errors import ConfigurationError
from pretrain.clips.dataset import ClipBatch, Text
from pretrain.losses import (
    DepthLossConfig,
    RegionTarget,
    contrastive_loss,
    depth_loss,
    depth_target,
    region_loss,
    region_target,
    text_groups,
)
from pretrain.losses.dense import DenseLossConfig, dense_losses
from pretrain.model import EgoDTM, EgoDTMConfig, EgoDTMOutput
from pretrain.model.crop_decoder import CropConfig


@dataclass
class ObjectiveConfig:
    """The ``objective`` part of the configuration."""

    name: str = "text_depth"
    """What tables and cards call it."""

    text: float = 1.0
    """Weight of the contrastive loss between videos and texts; 0 leaves the text encoder out."""

    depth: float = 1.0
    """Weight of depth estimation; 0 leaves the depth decoder out. The published ratio is 1 : 1."""

    region: float = 0.0
    """Weight of the boxes of hands and objects, the 2D counterpart of depth."""

    anchor: float = 0.0
    """Weight of the stem's anchor: through a small translator its features must still give those of
    ImageNet's stem. For a stem that learns (``training.stem_rate``)."""

    crop: float = 0.0
    """Weight of rebuilding a crop of a frame from one token of the whole frame and a few of the
    crop's patches."""

    distill: float = 0.0
    """Weight of giving the tokens of ``teacher``, a frozen vision model."""

    distill_into: Literal["stem", "patches"] = "stem"
    """What learns from the teacher: the features of the ``stem``, or the ``patches`` behind the
    blocks."""

    texts: Text = "random"
    """Text that a clip is trained with: ``narration``, ``caption`` (which adds space and motion),
    or ``random``, one of the two drawn for every sample, as published."""

    negatives: int = 0
    """Captions that differ from the true one in action, direction or hand, as far as a clip has
    them: so many, drawn for every sample whose text is its caption, are added to what the video is
    compared with. Without them the object's name alone tells most clips of a small batch apart."""

    depth_loss: DepthLossConfig = field(default_factory=DepthLossConfig)
    """Parts of the depth loss."""

    dense: DenseLossConfig = field(default_factory=DenseLossConfig)
    """What single tokens have to tell of the truth that only a simulator has: classes, surface
    normals, corresponding points."""
    crop_decoder: CropConfig = field(default_factory=CropConfig)
    """What a crop is rebuilt from, and how much of it is seen."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a weight is negative, or all are zero.
        """
        weights = self.weights
        if min(weights.values()) < 0 or max(weights.values()) == 0:
            raise ConfigurationError(
                f"Expected weights {', '.join(weights)} of 0 or more, one of them above 0, got "
                f"{', '.join(map(str, weights.values()))}."
            )
        if self.negatives < 0:
            raise ConfigurationError(f"Expected negatives >= 0, got {self.negatives}.")

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss."""
        own = {"text": self.text, "depth": self.depth, "region": self.region}
        heads = {"anchor": self.anchor, "crop": self.crop, "distill": self.distill}
        return own | heads | {str(part): weight for part, weight in self.dense.weights.items()}

    @property
    def has_heads(self) -> bool:
        """Whether there are heads that are no part of the model, :mod:`pretrain.losses.heads`."""
        return any(self.weights[name] > 0 for name in _HEADS)

    @property
    def reads_stem(self) -> bool:
        """Whether a head reads the stem's features."""
        at_stem = self.crop > 0 and self.crop_decoder.source == "stem"
        return self.anchor > 0 or at_stem or (self.distill > 0 and self.distill_into == "stem")

    @property
    def only_stem(self) -> bool:
        """Whether nothing behind the stem is trained."""
        behind = self.crop > 0 and self.crop_decoder.source == "class"
        behind |= self.distill > 0 and self.distill_into == "patches"
        behind |= bool(self.dense.weights) and self.dense.attach == "patches"
        return not behind and not (self.text or self.depth or self.region)


_HEADS = ("anchor", "crop", "distill")


def freeze_unused(model: EgoDTM, objective: ObjectiveConfig) -> None:
    """Freeze the parts of a model that an objective does not reach.

    They get no gradients, and processes that train together would wait for them.

    Raises:
        ConfigurationError: the objective needs a part that the model was configured without.
    """
    if objective.region and model.region_decoder is None:
        raise ConfigurationError(
            "Expected a model with a region decoder; set model.region_decoder.enabled=true."
        )
    if not objective.text:
        model.textual.requires_grad_(False)
        model.image_projection.requires_grad_(False)
    if not objective.depth:
        model.depth_decoder.requires_grad_(False)
    if not objective.region and model.region_decoder is not None:
        model.region_decoder.requires_grad_(False)
    if objective.only_stem:
        model.visual.requires_grad_(False)
    freeze_beside_dense(model, objective)


def freeze_beside_dense(model: EgoDTM, objective: ObjectiveConfig) -> None:
    """Freeze the dense head if it is not trained; train the norm of a stem that it alone reads.

    Raises:
        ConfigurationError: the model's head has other parts or reads other tokens.
    """
    wanted, head = objective.dense, model.config.dense_head
    if wanted.weights and (set(wanted.weights), wanted.attach) != (set(head.parts), head.source):
        raise ConfigurationError(
            f"Expected a model with a dense head for {', '.join(wanted.weights)} on "
            f"{wanted.attach}, got {', '.join(head.parts) or 'none'} on {head.source}. Set "
            "model.dense_head.parts and model.dense_head.source."
        )
    if not wanted.weights:
        if model.dense_head is not None:
            model.dense_head.requires_grad_(False)
    elif objective.only_stem:
        assert model.visual.stem is not None
        model.visual.stem.requires_grad_(True)


def objective_losses(
    model: nn.Module, batch: ClipBatch, objective: ObjectiveConfig, config: EgoDTMConfig
) -> dict[str, torch.Tensor]:
    """Losses of a batch, unweighted, and their weighted sum as ``total``.

    Args:
        model: an :class:`EgoDTM`, or what wraps it to train heads with it or in many processes.
        batch: on the model's device, this process's share of the global batch.
        objective: which losses.
        config: of the model.
    """
    tokens = batch.tokens
    present = None
    if batch.negatives is not None:
        present = batch.negatives[..., 0] != 0
        tokens = torch.cat([tokens, batch.negatives[present]])
    output: EgoDTMOutput = model(
        batch.frames,
        tokens if objective.text else None,
        depth=objective.depth > 0,
        regions=objective.region > 0,
        dense=bool(objective.dense.weights),
        **({} if batch.teacher is None else {"teacher": batch.teacher}),
    )
    parts: dict[str, torch.Tensor] = {}
    if objective.text:
        assert output.text is not None
        text, rest = output.text[: len(batch)], output.text[len(batch) :]
        negatives = None
        if present is not None:
            negatives = text.new_zeros((*present.shape, text.shape[1]))
            negatives[present] = rest
        parts["text"] = contrastive_loss(
            output.video.embedding,
            text,
            output.logit_scale,
            text_groups(batch.tokens),
            negatives,
        )
    if objective.depth:
        assert output.depths is not None
        assert batch.depth is not None
        rows, columns = output.depths[-1].depth.shape[-2:]
        target = depth_target(batch.depth, (rows, columns))
        parts["depth"] = depth_loss(output.depths, target, objective.depth_loss)
    if objective.region:
        assert output.boxes is not None
        parts["region"] = region_loss(output.boxes, batch_regions(batch, config))
    if objective.dense.weights:
        assert output.dense is not None
        assert batch.dense is not None
        parts.update(dense_losses(output.dense, batch.dense, objective.dense))
    parts |= output.further
    weights = objective.weights
    total = torch.stack([weights[name] * loss for name, loss in parts.items()]).sum()
    return {"total": total, **parts}


def batch_regions(batch: ClipBatch, config: EgoDTMConfig) -> RegionTarget:
    """The boxes of a batch by role, on the batch's device."""
    assert batch.boxes is not None
    target = region_target(batch.boxes, batch.frames.shape[1], config.region_decoder.objects)
    device = batch.frames.device
    return RegionTarget(
        target.boxes.to(device), target.present.to(device), target.labeled.to(device)
    )


def depth_size(config: EgoDTMConfig, resolution: int) -> tuple[int, int]:
    """Rows and columns of a model's depth maps for square frames of a side in pixels."""
    side = resolution // config.vision.patch_size * config.depth_decoder.upsampling
    return (side, side)
