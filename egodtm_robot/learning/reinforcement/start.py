"""What an actor starts from: nothing, a cloned policy, or a frozen policy that it corrects."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch

from egodtm_robot.core.fingerprints import hash_parts, hash_tensors
from egodtm_robot.learning.dataset import CachedFeatureDataset
from egodtm_robot.learning.reinforcement.algorithm import StartKind
from egodtm_robot.learning.reinforcement.reward import RewardConfig
from egodtm_robot.learning.reinforcement.transitions import Transitions, demonstrated_transitions
from policies.base import Policy, PolicyConfig
from policies.mlp import MLPPolicy, MLPPolicyConfig

_LEAST_SPREAD = 0.02
"""Of actions that demonstrations hardly vary: an actor would not move them at all."""


@dataclass(frozen=True)
class Start:
    """What reinforcement learning starts from.

    Attributes:
        kind: ``scratch``, ``clone`` or ``residual``.
        trunk: an MLP policy with the statistics of the demonstrations, whose modules stand before
            the networks; with ``clone`` the cloned policy itself.
        base: the frozen policy that is corrected; None where the actor acts alone.
        scale: (A,), the largest correction; of no effect without ``base``.
        action_unit: (A,), what one unit of exploration is in each dimension of the actor's output.
        demonstrations: as the actor would have acted in them.
        fingerprint: of the policy that it starts from and of what else decides the weights.
    """

    kind: StartKind
    trunk: MLPPolicy
    base: Policy | None
    scale: np.ndarray
    action_unit: np.ndarray
    demonstrations: Transitions
    fingerprint: str


def make_start(
    kind: StartKind,
    clone: Policy | None,
    config: PolicyConfig,
    dataset: CachedFeatureDataset,
    progress: np.ndarray,
    reward: RewardConfig,
    discount: float,
    residual_scale: float,
    seed: int,
) -> Start:
    """Make what learning starts from.

    Args:
        kind: of the start.
        clone: the cloned policy; None for ``scratch``.
        config: of the policy; one that is no MLP leaves the actor with an MLP's defaults.
        dataset: of the demonstrations.
        progress: before each of their steps, float64 (N,).
        reward: what a step is worth.
        discount: of the algorithm.
        residual_scale: the largest correction, in deviations of the demonstrated actions.
        seed: of the weights of what has not learned yet.
    """
    spread = np.clip(dataset.actions.std(axis=0), _LEAST_SPREAD, 1.0).astype(np.float32)
    scale = (residual_scale * spread).astype(np.float32)
    base = clone if kind == "residual" else None
    if kind == "clone":
        assert isinstance(clone, MLPPolicy)
        trunk = clone
    else:
        trunk = _untrained(config, dataset, seed)
    weights = None if clone is None else hash_tensors(clone.state_dict())
    return Start(
        kind=kind,
        trunk=trunk,
        base=base,
        scale=scale,
        action_unit=spread if base is None else np.ones_like(spread),
        demonstrations=demonstrated_transitions(dataset, progress, reward, discount, base, scale),
        fingerprint=hash_parts(kind, weights, residual_scale),
    )


def _untrained(config: PolicyConfig, dataset: CachedFeatureDataset, seed: int) -> MLPPolicy:
    """An MLP policy that has learned nothing but the statistics of the demonstrations."""
    mlp = config if isinstance(config, MLPPolicyConfig) else MLPPolicyConfig()
    policy = MLPPolicy(dataclasses.replace(mlp, history=1, action_chunk=1), dataset.spec)
    policy.initialize(torch.Generator().manual_seed(seed))
    observation = {name: torch.from_numpy(array) for name, array in dataset.observation.items()}
    policy.fit_statistics(observation, torch.from_numpy(dataset.actions))
    return policy.eval()
