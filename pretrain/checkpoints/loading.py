"""A model from any file of weights: ours by its card, a published one by its names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from egodtm_robot.core.errors import CheckpointError
from pretrain.checkpoints.families import FAMILIES, FamilyName, Part, read_published
from pretrain.checkpoints.files import load_checkpoint
from pretrain.checkpoints.shipped import named_checkpoint
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


def model_file(
    path: str | Path | None, family: FamilyName | None = None, where: str = "checkpoint"
) -> Path:
    """The file that :func:`load_model` would read.

    Raises:
        CheckpointError: none is named, or there is none.
        WeightsError: the package comes without the shipped checkpoint of that name.
    """
    title = None if family is None else FAMILIES[family].name
    if path is None:
        source = "" if family is None else f" Files: {FAMILIES[family].source}."
        raise CheckpointError(
            f"Expected {where}=FILE, weights of {title or 'a model'}, got none. They are not "
            f"downloaded for you.{source}"
        )
    path = Path(named_checkpoint(str(path))).expanduser()
    if not path.is_file():
        raise CheckpointError(
            f"Expected weights at {path}, found no file. Name a checkpoint of pretrain.run "
            "(.safetensors, beside its card) or a published file of EgoDTM, AVION or CLIP."
        )
    return path


def load_model(
    path: str | Path | None,
    family: FamilyName | None = None,
    frames: int | None = None,
    where: str = "checkpoint",
) -> LoadedModel:
    """Read a model.

    Args:
        path: weights that ``pretrain.run`` or ``pretrain.export`` wrote, beside their card; or a
            file of EgoDTM, AVION or OpenAI's CLIP as it was published (``.pt``, ``.pth``,
            ``.safetensors``), see :mod:`pretrain.checkpoints.families`; or the name of a shipped
            one, see :mod:`pretrain.checkpoints.shipped`.
        family: that a published file has to be of; None for any, and for ours.
        frames: that the embeddings of time of a published file are brought to, as its family's own
            loader does; None for those of the file. Ours interpolate theirs to any number.
        where: what the user calls ``path``, for messages.

    Raises:
        CheckpointError: there is no file, or it is none of these or of another family.
        WeightsError: a published file cannot be read.
        CheckpointMismatchError: lists tensors that are missing, unexpected or of another shape.
    """
    path = model_file(path, family, where)
    title = None if family is None else FAMILIES[family].name
    if path.suffix == ".safetensors" and path.with_suffix(".json").is_file():
        model, card = load_checkpoint(path)
        if family is not None:
            raise CheckpointError(
                f"Expected {where} to name a published file of {title}, {path} is a checkpoint of "
                "pretrain.run. Choose egodtm."
            )
        return LoadedModel(model, card)
    published = read_published(path)
    if family is not None and published.family is not FAMILIES[family]:
        raise CheckpointError(
            f"Expected {where} to name a file of {title}, {path} is one of "
            f"{published.family.name}. Choose egodtm, which takes both by their names."
        )
    fitted = published if frames is None else published.with_frames(frames)
    return LoadedModel(fitted.build(), lacking=published.lacking, description=published.describe())


def move_present(model: EgoDTM, device: torch.device | str) -> EgoDTM:
    """Move the parts of a model that have values; those that a file lacks cannot be moved."""
    for module in model.children():
        if not any(parameter.is_meta for parameter in module.parameters()):
            module.to(device)
    for parameter in model.parameters(recurse=False):
        if not parameter.is_meta:
            parameter.data = parameter.data.to(device)
    return model
