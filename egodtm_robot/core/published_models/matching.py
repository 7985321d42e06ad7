"""Tensors into a module: everything matches by name and shape, or nothing is loaded."""

import re
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn

from egodtm_robot.core.errors import CheckpointMismatchError

Shape = tuple[int, ...]

_LISTED = 20


def load_matching(
    module: nn.Module, tensors: Mapping[str, torch.Tensor], origin: str, assign: bool = False
) -> None:
    """Copy ``tensors`` into ``module``; every tensor on either side must have its partner.

    Args:
        module: takes the values; its parameters keep their type.
        tensors: by the names of ``module.state_dict()``.
        origin: where the tensors come from, for the error message.
        assign: whether the module takes the tensors themselves, without a copy. A module on the
            meta device has no memory to copy to.

    Raises:
        CheckpointMismatchError: lists tensors that are missing, unexpected or of another shape;
            the module is unchanged then.
    """
    report_mismatches(shapes(module.state_dict()), shapes(tensors), origin)
    module.load_state_dict(dict(tensors), strict=True, assign=assign)


def shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, Shape]:
    """The shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def layer_count(names: Iterable[str], pattern: str) -> int:
    """How many layers names count, from 0.

    Args:
        names: of tensors.
        pattern: of the beginning of a layer's names; its first group is the number.

    Raises:
        ValueError: no name is a layer's.
    """
    found = [re.match(pattern, name) for name in names]
    return 1 + max(int(match[1]) for match in found if match)


def report_mismatches(
    expected: Mapping[str, Shape],
    found: Mapping[str, Shape],
    origin: str,
    advice: str = "Use a checkpoint of exactly this architecture.",
) -> None:
    """Raise CheckpointMismatchError with the full account unless names and shapes agree.

    Args:
        expected: of the model.
        found: of the checkpoint.
        origin: where the checkpoint comes from.
        advice: what to do about it, at the end of the message.
    """
    refuse_mismatches(
        missing=[(name, shape) for name, shape in expected.items() if name not in found],
        unexpected=[(name, shape) for name, shape in found.items() if name not in expected],
        reshaped=[
            (name, shape, found[name])
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ],
        account=f"{origin} do not match the model "
        f"({len(expected)} expected, {len(found)} in the checkpoint)",
        advice=advice,
    )


def refuse_mismatches(
    missing: Sequence[tuple[str, Shape | None]],
    unexpected: Sequence[tuple[str, Shape | None]],
    reshaped: Sequence[tuple[str, Shape, Shape]],
    account: str,
    advice: str,
) -> None:
    """Raise CheckpointMismatchError if there is any mismatch.

    Args:
        missing: names, and shapes where they are known, that the checkpoint lacks.
        unexpected: those that the model has no place for.
        reshaped: name, expected and found shape.
        account: whose tensors do not match what, to stand behind their number.
        advice: what to do about it.
    """
    problems = [f"missing    {_named(name, shape)}" for name, shape in missing]
    problems += [f"unexpected {_named(name, shape)}" for name, shape in unexpected]
    problems += [
        f"shape      {name}: expected {expected}, got {found}" for name, expected, found in reshaped
    ]
    if not problems:
        return
    rest = len(problems) - _LISTED
    listed = "\n  ".join(problems[:_LISTED]) + (f"\n  ... and {rest} more" if rest > 0 else "")
    raise CheckpointMismatchError(f"{len(problems)} tensors of {account}:\n  {listed}\n{advice}")


def _named(name: str, shape: Shape | None) -> str:
    return name if shape is None else f"{name} {shape}"
