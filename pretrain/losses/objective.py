"""What a model is trained for: the weighted losses of one batch."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from egodtm_robot.core.errors import ConfigurationError
from pretrain.clips.dataset import ClipBatch, Text
from pretrain.clips.dense import DenseKind
from pretrain.losses import (
    DepthLossConfig,
    RegionTarget,
    contrastive_loss,
    depth_loss,
    depth_target,
    name_loss,
    projection_loss,
    region_loss,
    region_target,
    text_groups,
)
from pretrain.losses.dense import DenseLossConfig
from pretrain.losses.looks import LooksLossConfig
from pretrain.model import EgoDTM, EgoDTMConfig, EgoDTMOutput
from pretrain.model.crop_decoder import CropConfig

Positives = Literal["own", "action"]
"""Which texts a video has to find: see :attr:`ObjectiveConfig.positives`."""


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

    looks: float = 0.0
    """Weight of seeing the same under other lights, colors and textures, for a stem that learns.
    Clips have to hold ``looks``."""

    crop: float = 0.0
    """Weight of rebuilding a crop of a frame from one token of the whole frame and a few of the
    crop's patches."""

    distill: float = 0.0
    """Weight of giving the tokens of ``teacher``, a frozen vision model."""

    distill_into: Literal["stem", "patches"] = "stem"
    """What learns from the teacher: the features of the ``stem``, or the ``patches`` behind the
    blocks."""

    region_names: float = 0.0
    """Weight of naming the objects behind these boxes: object queries are compared with the nouns
    of the text."""

    entities: float = 0.0
    """Weight of holding groups of patches to the boxes of hands and objects."""

    entity_names: float = 0.0
    """Weight of comparing groups of patches with the nouns of the text."""

    positives: Positives = "own"
    """What the contrastive loss takes for right: a clip's ``own`` text alone, or the texts of all
    clips that share a verb and a noun with it (``action``, EgoNCE of EgoVLP)."""

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

    looks_loss: LooksLossConfig = field(default_factory=LooksLossConfig)
    """Parts of the loss of looks."""

    crop_decoder: CropConfig = field(default_factory=CropConfig)
    """What a crop is rebuilt from, and how much of it is seen."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a weight is negative, or all are zero.
        """
        if min(self.weights.values()) < 0 or max(self.weights.values()) == 0:
            *names, last = self.weights
            *values, final = map(str, self.weights.values())
            raise ConfigurationError(
                f"Expected weights {', '.join(names)} and {last} of 0 or more, one of them above "
                f"0, got {', '.join(values)} and {final}."
            )
        if self.positives == "action" and not self.text:
            raise ConfigurationError(
                "Expected objective.text above 0 with objective.positives=action, got 0: positives "
                "are those of the contrastive loss."
            )
        if self.negatives < 0:
            raise ConfigurationError(f"Expected negatives >= 0, got {self.negatives}.")

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss, by its name."""
        named = {name: getattr(self, name) for name in (*_PARTS, *_HEADS)}
        return named | {str(part): weight for part, weight in self.dense.weights.items()}

    @property
    def finds_regions(self) -> bool:
        """Whether the region decoder is trained."""
        return max(self.region, self.region_names) > 0

    @property
    def finds_entities(self) -> bool:
        """Whether the entity decoder is trained."""
        return max(self.entities, self.entity_names) > 0

    @property
    def names_things(self) -> bool:
        """Whether the nouns of texts are encoded."""
        return max(self.region_names, self.entity_names) > 0

    @property
    def dense_truth(self) -> tuple[DenseKind, ...]:
        """What clips have to hold beside depth, see :mod:`pretrain.clips.dense`."""
        return (*self.dense.truth, "looks") if self.looks else self.dense.truth

    @property
    def has_heads(self) -> bool:
        """Whether there are heads that are no part of the model, :mod:`pretrain.losses.heads`."""
        return bool(self.dense.weights) or any(self.weights[name] > 0 for name in _HEADS)

    @property
    def reads_stem(self) -> bool:
        """Whether a head reads the stem's features."""
        at_stem = max(self.anchor, self.looks) > 0
        at_stem |= self.crop > 0 and self.crop_decoder.source == "stem"
        at_stem |= self.distill > 0 and self.distill_into == "stem"
        return at_stem or (bool(self.dense.weights) and self.dense.attach == "stem")

    @property
    def only_stem(self) -> bool:
        """Whether nothing behind the stem is trained."""
        behind = self.crop > 0 and self.crop_decoder.source == "class"
        behind |= self.distill > 0 and self.distill_into == "patches"
        behind |= bool(self.dense.weights) and self.dense.attach == "patches"
        return not behind and not any(getattr(self, name) for name in _PARTS)

    def equip(self, model: EgoDTMConfig) -> None:
        """Give a model's configuration the parts that are trained, in place."""
        if self.finds_regions:
            model.region_decoder.enabled = True
        if self.region_names:
            model.region_decoder.names = True
        if self.finds_entities:
            model.entity_decoder.enabled = True

    def most_names(self, model: EgoDTMConfig) -> int:
        """How many nouns of a text are compared at most."""
        wanted = [model.region_decoder.objects] if self.region_names else []
        wanted += [model.entity_decoder.objects] if self.entity_names else []
        return min(wanted, default=0)


_PARTS = ("text", "depth", "region", "region_names", "entities", "entity_names")
_HEADS = ("anchor", "looks", "crop", "distill")


def freeze_unused(model: EgoDTM, objective: ObjectiveConfig) -> None:
    """Freeze the parts of a model that an objective does not reach.

    They get no gradients, and processes that train together would wait for them.

    Raises:
        ConfigurationError: the objective needs a part that the model was configured without.
    """
    regions, entities = model.region_decoder, model.entity_decoder
    if objective.finds_regions and regions is None:
        raise ConfigurationError(
            "Expected a model with a region decoder; set model.region_decoder.enabled=true."
        )
    if objective.region_names and (regions is None or regions.name_embed is None):
        raise ConfigurationError(
            "Expected a region decoder that names objects; set model.region_decoder.names=true."
        )
    if objective.finds_entities and entities is None:
        raise ConfigurationError(
            "Expected a model with an entity decoder; set model.entity_decoder.enabled=true."
        )
    if not objective.text:
        model.image_projection.requires_grad_(False)
        if not objective.names_things:
            model.textual.requires_grad_(False)
    if not objective.depth:
        model.depth_decoder.requires_grad_(False)
    if regions is not None:
        if not objective.finds_regions:
            regions.requires_grad_(False)
        elif not objective.region:
            regions.box_embed.requires_grad_(False)
            regions.presence_embed.requires_grad_(False)
        if not objective.region_names and regions.name_embed is not None:
            regions.name_embed.requires_grad_(False)
    if entities is not None:
        if not objective.finds_entities:
            entities.requires_grad_(False)
        elif not objective.entity_names:
            entities.name_embed.requires_grad_(False)
    if objective.only_stem:
        model.visual.requires_grad_(False)
        if objective.dense.weights and model.visual.stem is not None:
            # The dense head reads what the norm gives.
            model.visual.stem.norm.requires_grad_(True)


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
        regions=objective.finds_regions,
        names=_names(batch) if objective.names_things else None,
        entities=objective.finds_entities,
        **({} if batch.teacher is None else {"teacher": batch.teacher}),
        **({} if batch.dense is None else {"dense": batch.dense}),
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
            actions=batch.actions if objective.positives == "action" else None,
        )
    if objective.depth:
        assert output.depths is not None
        assert batch.depth is not None
        rows, columns = output.depths[-1].depth.shape[-2:]
        target = depth_target(batch.depth, (rows, columns))
        parts["depth"] = depth_loss(output.depths, target, objective.depth_loss)
    if objective.region:
        assert output.boxes is not None
        target_boxes = batch_regions(batch, config.region_decoder.objects)
        parts["region"] = region_loss(output.boxes, target_boxes)
    if objective.region_names:
        assert output.boxes is not None
        parts["region_names"] = _name_loss(output.boxes[-1].names, batch, output)
    if objective.finds_entities:
        assert output.entities is not None
        if objective.entities:
            target_boxes = batch_regions(batch, config.entity_decoder.objects)
            found = output.entities.masks
            parts["entities"] = projection_loss(found, output.video.grid, target_boxes)
        if objective.entity_names:
            parts["entity_names"] = _name_loss(output.entities.names, batch, output)
    parts |= output.further
    weights = objective.weights
    total = torch.stack([weights[name] * loss for name, loss in parts.items()]).sum()
    return {"total": total, **parts}


def _names(batch: ClipBatch) -> torch.Tensor:
    """The ids of all nouns of a batch in a row (M, 77)."""
    assert batch.names is not None
    return batch.names[batch.names[..., 0] != 0]


def _name_loss(
    predictions: torch.Tensor | None, batch: ClipBatch, output: EgoDTMOutput
) -> torch.Tensor:
    assert predictions is not None
    assert batch.names is not None
    assert output.names is not None
    present = batch.names[..., 0] != 0
    names = output.names.new_zeros((*present.shape, output.names.shape[1]))
    names[present] = output.names
    groups = text_groups(batch.names.flatten(0, 1)).reshape(present.shape)
    return name_loss(predictions, names, present, groups, output.logit_scale)


def batch_regions(batch: ClipBatch, objects: int) -> RegionTarget:
    """The boxes of a batch by role, with so many objects, on the batch's device."""
    assert batch.boxes is not None
    target = region_target(batch.boxes, batch.frames.shape[1], objects)
    device = batch.frames.device
    return RegionTarget(
        target.boxes.to(device), target.present.to(device), target.labeled.to(device)
    )


def depth_size(config: EgoDTMConfig, resolution: int) -> tuple[int, int]:
    """Rows and columns of a model's depth maps for square frames of a side in pixels."""
    side = resolution // config.vision.patch_size * config.depth_decoder.upsampling
    return (side, side)
