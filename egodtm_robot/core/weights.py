"""Loading of checkpoint tensors: everything matches by name and shape, or nothing is loaded."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from egodtm_robot.core.errors import CheckpointMismatchError, EncoderWeightsError

_LISTED = 20


def read_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a flat dictionary of tensors from a safetensors file or a torch file.

    Torch files are read with ``weights_only=True``: a pickle that would run code is refused. Those
    of training scripts hold the dictionary under ``state_dict``, beside an optimiser, counters and
    the script's arguments (an ``argparse.Namespace``, which runs nothing); the rest is left.

    Raises:
        EncoderWeightsError: the file is missing, damaged, hostile, or no dictionary of tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise EncoderWeightsError(f"Expected a checkpoint file at {path}, found none.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise _unreadable(path, error) from error
    except Exception as error:
        # pickle.UnpicklingError and what a damaged archive raises share no base class.
        raise _unreadable(path, error) from error
    if isinstance(tensors, Mapping) and isinstance(tensors.get("state_dict"), Mapping):
        tensors = tensors["state_dict"]
    if not isinstance(tensors, Mapping) or not all(
        isinstance(value, torch.Tensor) for value in tensors.values()
    ):
        raise EncoderWeightsError(
            f"Expected {path} to hold one flat dictionary of tensors, got {type(tensors).__name__}."
        )
    return dict(tensors)


def load_matching(module: nn.Module, tensors: Mapping[str, torch.Tensor], origin: str) -> None:
    """Copy ``tensors`` into ``module``; every tensor on either side must have its partner.

    Args:
        module: takes the values; its parameters keep their type.
        tensors: by the names of ``module.state_dict()``.
        origin: where the tensors come from, for the error message.

    Raises:
        CheckpointMismatchError: lists tensors that are missing, unexpected or of another shape;
            the module is unchanged then.
    """
    report_mismatches(
        expected={name: tuple(t.shape) for name, t in module.state_dict().items()},
        found={name: tuple(t.shape) for name, t in tensors.items()},
        origin=origin,
    )
    module.load_state_dict(dict(tensors), strict=True)


def report_mismatches(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], origin: str
) -> None:
    """Raise CheckpointMismatchError with the full account unless names and shapes agree."""
    problems = [
        f"missing    {name} {shape}" for name, shape in expected.items() if name not in found
    ]
    problems += [
        f"unexpected {name} {shape}" for name, shape in found.items() if name not in expected
    ]
    problems += [
        f"shape      {name}: expected {shape}, got {found[name]}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if problems:
        rest = len(problems) - _LISTED
        listed = "\n  ".join(problems[:_LISTED]) + (f"\n  ... and {rest} more" if rest > 0 else "")
        raise CheckpointMismatchError(
            f"{len(problems)} tensors of {origin} do not match the model "
            f"({len(expected)} expected, {len(found)} in the checkpoint):\n  {listed}\n"
            "Use a checkpoint of exactly this architecture."
        )


def _unreadable(path: Path, error: Exception) -> EncoderWeightsError:
    return EncoderWeightsError(
        f"Expected {path} to be a safetensors file or a torch file of plain tensors, and could not "
        f"read it as one ({type(error).__name__}). Nothing in it was executed. Fetch it again, or "
        "convert it to safetensors."
    )
