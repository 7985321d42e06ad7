"""States that a training goes on from: weights, moments of the optimizer, and a record.

Each is one safetensors file, written whole or not at all, with the record as JSON in its header;
nothing is pickled. The two newest are kept: a damaged one costs the steps since the one before.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from egodtm_robot.core.errors import ResumeMismatchError
from egodtm_robot.core.storage.atomic_files import write_atomically
from egodtm_robot.core.training.identity import decisive, differences, listed

_KEPT = 2


class TrainingStates:
    """The states in one folder.

    Args:
        folder: of nothing else; made when the first state is saved.
        identity: everything that decides the weights: plain values and the dataclasses of the
            settings, without whose fields that are
            :data:`~egodtm_robot.core.training.identity.NOT_DECISIVE`.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.identity = identity

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        record: Mapping[str, Any],
        further: Mapping[str, Mapping[str, torch.Tensor]] | None = None,
    ) -> None:
        """Write the state of a step and drop older ones.

        Args:
            step: that the state is of.
            model: its weights are written.
            optimizer: its moments are written.
            record: plain values beside them.
            further: other tensors that the training needs, by the name of their part.

        Raises:
            DiskSpaceError: the disk is full; older states are kept.
        """
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        tensors |= {f"optimizer.{name}": one for name, one in optimizer_tensors(optimizer).items()}
        for part, values in (further or {}).items():
            tensors |= {f"{part}.{name}": value for name, value in values.items()}
        self.save_tensors(step, tensors, record)

    def save_tensors(
        self, step: int, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]
    ) -> None:
        """Write the state of a step that is more than a model and its optimizer.

        Args:
            step: that the state is of.
            tensors: by names of the caller's choice.
            record: plain values beside them.

        Raises:
            DiskSpaceError: the disk is full; older states are kept.
        """
        content = {"identity": decisive(self.identity), "step": step, **record}
        data = safetensors.torch.save(
            # Cloned, because tied tensors share their memory.
            {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()},
            metadata={"record": json.dumps(content)},
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / f"state_{step:07d}.safetensors", data)
        for old in saved_states(self.folder)[:-_KEPT]:
            old.unlink()

    def restore(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        further: dict[str, dict[str, torch.Tensor]] | None = None,
    ) -> dict[str, Any] | None:
        """Take up the newest readable state.

        Args:
            model: gets the weights.
            optimizer: of that model's parameters, gets their moments.
            further: gets the tensors of other parts that were saved, by the name of the part.

        Returns:
            The record, with ``step``; None where there is no state.

        Raises:
            ResumeMismatchError: the state belongs to a run with another identity.
        """
        found = self.restore_tensors()
        if found is None:
            return None
        record, tensors = found
        model.load_state_dict(part_of(tensors, "model"))
        fill_optimizer(optimizer, part_of(tensors, "optimizer"))
        if further is not None:
            parts = {name.split(".", 1)[0] for name in tensors} - {"model", "optimizer"}
            further.update({part: part_of(tensors, part) for part in parts})
        return record

    def restore_tensors(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
        """Read the newest readable state that :meth:`save_tensors` wrote.

        Returns:
            The record, with ``step``, and the tensors; None where there is no state.

        Raises:
            ResumeMismatchError: the state belongs to a run with another identity.
        """
        for path in reversed(saved_states(self.folder)):
            try:
                with safetensors.safe_open(path, framework="pt") as file:
                    record: dict[str, Any] = json.loads(file.metadata()["record"])
                    tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            except Exception:  # damaged in any way: the state before it will do
                continue
            self._check(record["identity"])
            return record, tensors
        return None

    def _check(self, before: Mapping[str, Any]) -> None:
        found = differences(before, self.identity)
        if found:
            raise ResumeMismatchError(
                f"{self.folder.parent} holds a run with other settings (before -> now): "
                f"{listed(found)}. Choose another run_dir, or remove this one."
            )


def saved_states(folder: Path) -> list[Path]:
    """Files of the states in a folder, oldest first."""
    return sorted(folder.glob("state_*.safetensors"))


def part_of(tensors: Mapping[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    """The tensors named ``<part>.<name>``, by ``<name>``."""
    prefix = f"{part}."
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The moments of an optimizer, as ``<index of the parameter>.<moment>``."""
    return {
        f"{index}.{name}": value
        for index, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
    }


def fill_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give an optimizer the moments that :func:`optimizer_tensors` returned."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        index, moment = name.split(".", 1)
        moments.setdefault(int(index), {})[moment] = tensor
    state = optimizer.state_dict()
    state["state"] = moments
    optimizer.load_state_dict(state)
