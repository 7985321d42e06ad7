"""A replay buffer that mixes demonstrations into every batch."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from egodtm_robot.learning.reinforcement.transitions import Transitions


class DemonstrationReplayBuffer(DictReplayBuffer):
    """Stable-Baselines3's replay buffer with a share of demonstrated steps in each batch.

    Ball et al., Efficient Online Reinforcement Learning with Offline Data, 2023 (RLPD): half of
    each batch is drawn from the demonstrations, however much has been experienced since.

    Args:
        buffer_size: see :class:`stable_baselines3.common.buffers.DictReplayBuffer`, also for the
            other arguments that are not named here.
        observation_space: of the environment.
        action_space: of the environment.
        demonstrations: what was demonstrated.
        share: of each batch that is demonstrated, in [0, 1).
        **options: further arguments of the base class.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Dict,
        action_space: spaces.Space[Any],
        *,
        demonstrations: Transitions,
        share: float,
        **options: Any,
    ) -> None:
        super().__init__(buffer_size, observation_space, action_space, **options)
        self.share = share
        self.demonstrated = DictReplayBuffer(
            len(demonstrations), observation_space, action_space, device=self.device
        )
        for row in range(len(demonstrations)):
            self.demonstrated.add(
                {name: array[row] for name, array in demonstrations.observations.items()},
                {name: array[row] for name, array in demonstrations.next_observations.items()},
                demonstrations.actions[row],
                np.asarray(demonstrations.rewards[row]),
                np.asarray(demonstrations.ends[row]),
                [{}],
            )

    def sample(  # type: ignore[override]  # as in the base class
        self, batch_size: int, env: VecNormalize | None = None
    ) -> DictReplayBufferSamples:
        """Draw a batch.

        Args:
            batch_size: rows in all.
            env: that normalizes what is drawn; None for none.
        """
        of_demonstrations = round(self.share * batch_size)
        own = super().sample(batch_size - of_demonstrations, env)
        if not of_demonstrations:
            return own
        other = self.demonstrated.sample(of_demonstrations, env)
        return DictReplayBufferSamples(
            observations=_joined(own.observations, other.observations),
            actions=torch.cat([own.actions, other.actions]),
            next_observations=_joined(own.next_observations, other.next_observations),
            dones=torch.cat([own.dones, other.dones]),
            rewards=torch.cat([own.rewards, other.rewards]),
        )


def _joined(
    one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    return {name: torch.cat([tensor, other[name]]) for name, tensor in one.items()}
