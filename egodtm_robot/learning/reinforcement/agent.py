"""A learned actor as rollouts and everything else of Stable-Baselines3 call it: ``predict``."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from egodtm_robot.core.constant_batches import constant_batches
from egodtm_robot.learning.reinforcement.residual import combined
from policies.actor import BASE_ACTION
from policies.base import INFERENCE_BATCH, Policy, PolicyState
from policies.spec import PROPRIOCEPTION


class Agent:
    """An actor, alone or as the correction of a frozen policy.

    It computes batches of a constant size, as our policies do: what it does in one environment does
    not depend on how many others there are.

    Args:
        actor: the policy of a model of Stable-Baselines3.
        base: the frozen policy that it corrects; None for none.
        scale: (A,), see :func:`~egodtm_robot.learning.reinforcement.residual.combined`.
    """

    def __init__(
        self, actor: BasePolicy, base: Policy | None = None, scale: np.ndarray | None = None
    ) -> None:
        self.actor = actor
        self.base = base
        self.scale = scale

    def predict(
        self,
        observation: Mapping[str, Any],
        state: PolicyState | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, PolicyState | None]:
        """Actions for a batch of observations, as Stable-Baselines3 asks for them.

        Args:
            observation: ``proprioception`` (B, P) and ``features/<camera>`` (B, L, D); one
                observation without batch axis is allowed.
            state: of the frozen policy, what the last call returned; None at the start.
            episode_start: bool (B,), where an episode begins.
            deterministic: whether to take the mean of the actor's distribution; sampling draws from
                PyTorch's global generator.

        Returns:
            float32 (B, A) in [-1, 1], and the state for the next call.
        """
        single = np.ndim(observation[PROPRIOCEPTION]) == 1
        arrays = {
            name: np.asarray(value)[None] if single else np.asarray(value)
            for name, value in observation.items()
        }
        if self.base is not None:
            arrays[BASE_ACTION], state = self.base.predict(
                arrays, state, episode_start, deterministic
            )
        space = self.actor.observation_space
        assert isinstance(space, spaces.Dict)
        seen = {name: arrays[name] for name in space.spaces}
        rows = len(seen[PROPRIOCEPTION])
        parts = [
            self.actor.predict(batch, deterministic=deterministic)[0]
            for batch, _ in constant_batches(seen, INFERENCE_BATCH)
        ]
        actions = np.concatenate(parts)[:rows]
        if self.base is not None:
            assert self.scale is not None
            actions = combined(arrays[BASE_ACTION], actions, self.scale)
        return (actions[0] if single else actions), state
