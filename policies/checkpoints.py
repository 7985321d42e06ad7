"""Policies on disk: ``policy.safetensors`` with the weights, ``policy.json`` with the rest.

Nothing is unpickled. Sizes that the description asks for are compared with the weights' before
memory is taken, and every tensor must match by name and shape.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from egodtm_robot.core.configuration.instantiation import typed_options
from egodtm_robot.core.errors import CheckpointError, EgoDTMRobotError
from egodtm_robot.core.storage.atomic_files import sync_folder, write_atomically
from policies.base import Policy
from policies.registry import find_policy, user_import_path
from policies.spec import PolicySpec

WEIGHTS = "policy.safetensors"
DESCRIPTION = "policy.json"
FORMAT = 2
"""Raised whenever an older reader would misread a checkpoint. Format 1, of the time when all
policies were MLPs, is read too: it lacks ``version`` and ``import_path``."""

_LARGEST_DESCRIPTION = 4 * 2**20


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy and what was written down about it.

    Attributes:
        policy: in evaluation mode.
        provenance: what :func:`save_policy` was given: encoder, demonstrations, versions, ...
    """

    policy: Policy
    provenance: dict[str, Any]

    def require_encoder(self, fingerprint: str) -> None:
        """Refuse features of another encoder than the policy was trained on.

        Raises:
            CheckpointError: the fingerprints differ.
        """
        trained = self.provenance.get("encoder_fingerprint")
        if trained != fingerprint:
            raise CheckpointError(
                f"The policy was trained on features of encoder {trained}, this one is "
                f"{fingerprint}: its weights, preprocessing or options differ. Use the encoder "
                f"configuration that {DESCRIPTION} holds, or train again."
            )


def save_policy(policy: Policy, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write a policy; the folder appears whole or not at all.

    Args:
        policy: what to write.
        folder: the checkpoint's folder; one that exists is replaced.
        provenance: values JSON can hold. ``encoder_fingerprint`` is what
            :meth:`LoadedPolicy.require_encoder` compares.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()
    }
    weights = safetensors.torch.save(tensors)
    description = {
        "format": FORMAT,
        "kind": policy.kind,
        "version": policy.version,
        # Of a user's own class alone; one that ships is found by its kind, wherever it lies.
        "import_path": user_import_path(type(policy)),
        "config": dataclasses.asdict(policy.config),
        "spec": policy.spec.to_json(),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "provenance": dict(provenance),
    }
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_atomically(partial / WEIGHTS, weights)
    text = json.dumps(description, indent=2, allow_nan=False) + "\n"
    write_atomically(partial / DESCRIPTION, text.encode())
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    sync_folder(folder.parent)


def load_policy(folder: Path, device: torch.device | str = "cpu") -> LoadedPolicy:
    """Read what :func:`save_policy` wrote.

    Args:
        folder: the checkpoint's folder.
        device: where the weights go.

    Raises:
        CheckpointError: a file is missing, damaged, foreign, or the two do not belong together.
    """
    description = _read_description(folder / DESCRIPTION)
    weights = folder / WEIGHTS
    try:
        data = weights.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"Expected a policy's weights in {weights}, cannot read it: {error}."
        ) from error
    if hashlib.sha256(data).hexdigest() != description["weights_sha256"]:
        raise CheckpointError(
            f"{weights} is not the file that {DESCRIPTION} describes (its SHA-256 differs): it "
            "was damaged or exchanged. Copy the checkpoint again."
        )
    try:
        tensors = safetensors.torch.load(data)
    except Exception as error:  # safetensors raises several types for a foreign file
        raise CheckpointError(f"{weights} is not a safetensors file: {error}.") from error
    policy_class = _find_class(description, folder / DESCRIPTION)
    try:
        config = typed_options("policy", policy_class.config_class, description["config"])
        spec = PolicySpec.from_json(description["spec"])
        # The meta device allocates nothing, whatever sizes the description asks for.
        with torch.device("meta"):
            policy = policy_class(config, spec)
            policy.resize_buffers({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, EgoDTMRobotError) as error:
        raise CheckpointError(
            f"{folder / DESCRIPTION} does not describe a policy of this version: {error}"
        ) from error
    _check_tensors(policy, tensors, weights)
    policy.load_state_dict(tensors, assign=True)
    policy.to(device).eval()
    return LoadedPolicy(policy, dict(description["provenance"]))


def _read_description(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_DESCRIPTION + 1)
    except OSError as error:
        raise CheckpointError(
            f"Expected a policy's description in {path}, cannot read it: {error}. Point at a "
            f"folder with {WEIGHTS} and {DESCRIPTION}."
        ) from error
    if len(data) > _LARGEST_DESCRIPTION:
        raise CheckpointError(f"{path} is larger than any policy's description.")
    try:
        description = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from error
    expected = {"format", "kind", "config", "spec", "weights_sha256", "provenance"}
    if not isinstance(description, dict) or not expected <= description.keys():
        raise CheckpointError(f"Expected {', '.join(sorted(expected))} in {path}.")
    if description["format"] not in (1, FORMAT):
        raise CheckpointError(
            f"Expected format 1 to {FORMAT} in {path}, got {description['format']!r}; it was "
            "written by another version of the toolkit."
        )
    if not isinstance(description["config"], dict):
        raise CheckpointError(f"Expected an object under 'config' in {path}.")
    if description["format"] == 1:
        options = {name: value for name, value in description["config"].items() if name != "kind"}
        description |= {"version": 1, "import_path": None, "config": options}
    if not isinstance(description["provenance"], dict):
        raise CheckpointError(f"Expected an object under 'provenance' in {path}.")
    return description


def _find_class(description: Mapping[str, Any], path: Path) -> type[Policy]:
    kind, version, place = (description.get(name) for name in ("kind", "version", "import_path"))
    try:
        found = find_policy(str(kind), None if place is None else str(place))
    except EgoDTMRobotError as error:
        raise CheckpointError(f"Cannot find the policy that {path} describes: {error}") from error
    if version != found.version:
        raise CheckpointError(
            f"Expected version {found.version} of policy {kind!r} in {path}, got {version!r}; it "
            "was written by another version of the toolkit."
        )
    return found


def _check_tensors(policy: Policy, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in policy.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    problems = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    problems += [f"{name} is not expected" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(expected.keys() & found.keys()):
        if expected[name] != found[name]:
            problems.append(f"{name} should be {expected[name]}, is {found[name]}")
        elif tensors[name].is_floating_point() and not bool(tensors[name].isfinite().all()):
            problems.append(f"{name} holds values that are not finite")
        elif tensors[name].dtype != policy.state_dict()[name].dtype:
            problems.append(f"{name} is {tensors[name].dtype}")
    if problems:
        raise CheckpointError(f"{path} does not fit its description: {'; '.join(problems)}.")
