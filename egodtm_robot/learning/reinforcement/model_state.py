"""Everything that a model of Stable-Baselines3 goes on from, as tensors and plain values.

Its own archives hold pickled objects, which run code when they are read. What a run goes on from is
therefore kept in safetensors files; the model is built anew from the run's settings and takes up
its networks, optimizers, experience and generators from there.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.save_util import recursive_getattr

from egodtm_robot.core.training.states import fill_optimizer, optimizer_tensors

_COUNTERS = ("num_timesteps", "_episode_num", "_n_updates")
_BUFFER_ARRAYS = ("actions", "rewards", "dones", "timeouts")


def model_state(model: BaseAlgorithm) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What :func:`restore_model` needs: tensors by name, and plain values."""
    tensors: dict[str, torch.Tensor] = {}
    modules, variables = model._get_torch_save_params()
    for name in modules:
        part = recursive_getattr(model, name)
        own = (
            optimizer_tensors(part)
            if isinstance(part, torch.optim.Optimizer)
            else part.state_dict()
        )
        tensors |= {f"{name}/{key}": tensor for key, tensor in own.items()}
    tensors |= {f"{name}/value": recursive_getattr(model, name) for name in variables}
    record: dict[str, Any] = {name: getattr(model, name) for name in _COUNTERS}
    tensors["generator/torch"] = torch.get_rng_state()
    if model.device.type == "cuda":
        tensors["generator/cuda"] = torch.cuda.get_rng_state(model.device)
    _, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  (Stable-Baselines3 draws there)
    tensors["generator/numpy"] = torch.from_numpy(np.array(keys, np.int64))
    record["numpy_generator"] = [int(rest[0]), int(rest[1]), float(rest[2])]
    record["action_generator"] = model.action_space.np_random.bit_generator.state
    if isinstance(model, OffPolicyAlgorithm):
        buffer = model.replay_buffer
        assert isinstance(buffer, DictReplayBuffer)
        rows = buffer.buffer_size if buffer.full else buffer.pos
        for name, array in _buffer_arrays(buffer).items():
            tensors[f"replay/{name}"] = torch.from_numpy(array[:rows])
        record["replay"] = [buffer.pos, buffer.full]
    return tensors, record


def restore_model(
    model: BaseAlgorithm, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]
) -> None:
    """Take up what :func:`model_state` returned.

    Args:
        model: made with the same settings.
        tensors: by name.
        record: plain values.
    """
    modules, variables = model._get_torch_save_params()
    for name in modules:
        part = recursive_getattr(model, name)
        own = _below(tensors, name)
        if isinstance(part, torch.optim.Optimizer):
            fill_optimizer(part, own)
        else:
            part.load_state_dict(own)
    with torch.no_grad():
        for name in variables:
            recursive_getattr(model, name).copy_(tensors[f"{name}/value"])
    for name in _COUNTERS:
        setattr(model, name, record[name])
    restore_generators(model, tensors, record)
    if isinstance(model, OffPolicyAlgorithm):
        buffer = model.replay_buffer
        assert isinstance(buffer, DictReplayBuffer)
        for name, array in _buffer_arrays(buffer).items():
            stored = tensors[f"replay/{name}"].numpy()
            array[: len(stored)] = stored
        buffer.pos, buffer.full = record["replay"]


def restore_generators(
    model: BaseAlgorithm, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]
) -> None:
    """Set the global generators that Stable-Baselines3 draws from, and the model's own."""
    torch.set_rng_state(tensors["generator/torch"])
    if model.device.type == "cuda" and "generator/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["generator/cuda"], model.device)
    keys = tensors["generator/numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, *record["numpy_generator"]))  # noqa: NPY002
    model.action_space.np_random.bit_generator.state = record["action_generator"]


def _below(tensors: Mapping[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    prefix = f"{name}/"
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }


def _buffer_arrays(buffer: DictReplayBuffer) -> dict[str, np.ndarray]:
    arrays = {name: getattr(buffer, name) for name in _BUFFER_ARRAYS}
    for name, array in buffer.observations.items():
        arrays |= {f"before/{name}": array, f"after/{name}": buffer.next_observations[name]}
    return arrays
