"""A model from any file of weights: ours by its card, a published one by its names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from egodtm_robot.core.errors import CheckpointError
from pretrain.checkpoints.families import Part, read_published
from pretrain.checkpoints.files import load_checkpoint
from pretrain.model import EgoDTM


@dataclass(frozen=True)
class LoadedModel:
    """A model that was loaded from a file.

    Attributes:
        model: in evaluation mode.
        card: of a checkpoint of ours; empty for a published file.
        lacking: parts of it that the file does not have; they have no values (meta device).
        description: what was recognized and set, in one line; None for a checkpoint of ours, whose
            card says it.
    """

    model: EgoDTM
    card: Mapping[str, Any] = field(default_factory=dict)
    lacking: frozenset[Part] = frozenset()
    description: str | None = None


def load_model(path: str | Path) -> LoadedModel:
    """Read a model.

    Args:
        path: weights that ``pretrain.run`` or ``pretrain.export`` wrote, beside their card; or a
            file of EgoDTM, AVION or OpenAI's CLIP as it was published (``.pt``, ``.pth``,
            ``.safetensors``), see :mod:`pretrain.checkpoints.families`.

    Raises:
        CheckpointError: there is no file, or it is none of these.
        WeightsError: a published file cannot be read.
        CheckpointMismatchError: lists tensors that are missing, unexpected or of another shape.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(
            f"Expected weights at {path}, found no file. Name a checkpoint of pretrain.run "
            "(.safetensors, beside its card) or a published file of EgoDTM, AVION or CLIP."
        )
    if path.suffix == ".safetensors" and path.with_suffix(".json").is_file():
        model, card = load_checkpoint(path)
        return LoadedModel(model, card)
    published = read_published(path)
    return LoadedModel(
        published.build(), lacking=published.lacking, description=published.describe()
    )


def move_present(model: EgoDTM, device: torch.device | str) -> EgoDTM:
    """Move the parts of a model that have values; those that a file lacks cannot be moved."""
    for module in model.children():
        if not any(parameter.is_meta for parameter in module.parameters()):
            module.to(device)
    for parameter in model.parameters(recurse=False):
        if not parameter.is_meta:
            parameter.data = parameter.data.to(device)
    return model
