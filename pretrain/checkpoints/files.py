"""Our own checkpoints: ``NAME.safetensors`` with the weights, ``NAME.json`` with their card.

A checkpoint may have a base, a shipped one: then it holds only what differs from that. Nothing is
unpickled. The card holds the model's configuration and the hash of the weights it
describes, and whatever the caller knows of how they came about (data, steps, metrics, versions).
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from egodtm_robot.core.configuration import from_yaml
from egodtm_robot.core.errors import CheckpointError, ConfigurationError, UnknownNameError
from egodtm_robot.core.published_models.matching import report_mismatches
from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.checkpoints.shipped import SHIPPED, shipped_checkpoint
from pretrain.model import EgoDTM, EgoDTMConfig

FORMAT = 1
"""Raised whenever an older reader would misread a checkpoint."""

_BASE = "base"
_LARGEST_CARD = 4 * 2**20
OWN_KEYS = ("format", "model", "parameters", "dtype", "weights_sha256")
"""What every card holds, written by :func:`save_checkpoint`."""


def save_checkpoint(
    path: Path,
    model: EgoDTM,
    card: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
    base: str | None = None,
) -> None:
    """Write a model. A crash in between leaves files that :func:`load_checkpoint` refuses.

    Args:
        path: of the weights, ending in ``.safetensors``; the card takes the same name with
            ``.json``. Files that exist are replaced.
        model: what to write.
        card: values JSON can hold, kept under keys of their own.
        dtype: of the numbers on disk; half precision halves the file.
        base: name of a shipped checkpoint; tensors that are the same there are left out. None
            writes all.

    Raises:
        CheckpointError: the path ends otherwise, or the card has a key that we write ourselves.
        UnknownNameError: no such checkpoint is shipped.
        WeightsError: this build of the package comes without it.
    """
    path = _checked(path)
    taken = sorted(set(card) & {*OWN_KEYS, _BASE})
    if taken:
        raise CheckpointError(f"Expected a card without {', '.join(taken)}: they are added here.")
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    if base is not None:
        if base not in SHIPPED:
            raise UnknownNameError("base", base, SHIPPED)
        origin = shipped_checkpoint(base)
        known, described = load_checkpoint(origin)
        same = known.state_dict()
        tensors = {
            name: tensor
            for name, tensor in tensors.items()
            if name not in same or not torch.equal(tensor, same[name].to(dtype))
        }
        told = {key: described[key] for key in ("weights_sha256", "objective")}
        card = {**card, _BASE: {"name": base, **told}}
    weights = safetensors.torch.save(tensors)
    description = {
        "format": FORMAT,
        "model": dataclasses.asdict(model.config),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dtype": str(dtype).removeprefix("torch."),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        **card,
    }
    write_atomically(path, weights)
    write_atomically(path.with_suffix(".json"), json.dumps(description, indent=2).encode() + b"\n")


def load_checkpoint(path: Path) -> tuple[EgoDTM, dict[str, Any]]:
    """Read a model and its card.

    Args:
        path: of the weights, beside their card.

    Returns:
        The model in float32 and in evaluation mode, and the whole card.

    Raises:
        CheckpointError: a file is missing or unreadable, or they do not belong together.
        CheckpointMismatchError: lists tensors that are missing, unexpected or of another shape.
    """
    path = _checked(path)
    card = load_card(path)
    try:
        config = from_yaml(EgoDTMConfig, json.dumps(card["model"]))
    except ConfigurationError as error:
        raise CheckpointError(
            f"Expected {path.with_suffix('.json')} to hold a model's configuration under 'model'. "
            f"{error}"
        ) from error
    tensors = _read_tensors(path, card)
    model = EgoDTM(config, seed=None)
    # Before any memory is taken for the model: a card may claim any size.
    report_mismatches(
        expected={name: tuple(tensor.shape) for name, tensor in model.state_dict().items()},
        found={name: tuple(tensor.shape) for name, tensor in tensors.items()},
        origin=str(path),
    )
    model.load_state_dict({name: t.float() for name, t in tensors.items()}, assign=True)
    return model.eval(), card


def _read_tensors(path: Path, card: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, over those of its base."""
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"Expected weights at {path}, beside their card, and could not read them: {error}."
        ) from error
    if hashlib.sha256(weights).hexdigest() != card["weights_sha256"]:
        raise CheckpointError(
            f"The weights {path} are not those that its card describes: their SHA-256 differs. A "
            "write was interrupted or a file was damaged or replaced; fetch both files again."
        )
    try:
        tensors = safetensors.torch.load(weights)
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"Expected {path} to be a safetensors file, and could not read it: {error}."
        ) from error
    if _BASE not in card:
        return tensors
    base = card[_BASE]
    name = base.get("name") if isinstance(base, dict) else base
    if name not in SHIPPED:
        raise CheckpointError(
            f"Expected {path} to change one of the checkpoints {', '.join(SHIPPED)}, its card says "
            f"{name!r}. Use a version of this package that ships it."
        )
    origin = shipped_checkpoint(name)
    own = load_card(origin)
    if own["weights_sha256"] != base.get("weights_sha256"):
        raise CheckpointError(
            f"Expected the {name} that {path} changes, this package ships another one: their "
            "SHA-256 differ. Use the version of this package that wrote it."
        )
    return {**_read_tensors(origin, own), **tensors}


def load_card(path: Path) -> dict[str, Any]:
    """Read the card of the checkpoint whose weights are at ``path``.

    Raises:
        CheckpointError: there is none, or it is of another format.
    """
    place = _checked(path).with_suffix(".json")
    try:
        if place.stat().st_size > _LARGEST_CARD:
            raise CheckpointError(f"Expected a card of at most 4 MiB, {place} is larger.")
        card = json.loads(place.read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"Expected the card of a checkpoint at {place}, and could not read it: {error}. Copy "
            "both files of a checkpoint."
        ) from error
    except ValueError as error:
        raise CheckpointError(
            f"Expected {place} to be JSON, got something else: {error}."
        ) from error
    if not isinstance(card, dict) or not set(OWN_KEYS) <= set(card):
        raise CheckpointError(f"Expected {place} to hold the keys {', '.join(OWN_KEYS)}.")
    if card["format"] != FORMAT:
        raise CheckpointError(
            f"Expected a checkpoint of format {FORMAT}, {place} says {card['format']}. Use the "
            "version of this package that wrote it."
        )
    return card


def _checked(path: Path) -> Path:
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"Expected a checkpoint's path to end in .safetensors, got {path}.")
    return path
