"""PPO whose actor is held near demonstrations while it begins to learn."""

from typing import Any

import torch
from stable_baselines3 import PPO
from torch import Tensor

from egodtm_robot.learning.reinforcement.transitions import Transitions


class AnchoredPPO(PPO):
    """Stable-Baselines3's PPO with a behavior-cloning loss that fades, and a warm-up of the critic.

    The gradient of the cloning loss is added to PPO's own at each gradient step, after Rajeswaran
    et al., Learning Complex Dexterous Manipulation with Deep Reinforcement Learning and
    Demonstrations, 2018. Until the critic has learned from some steps, the actor stays as it is:
    advantages by an untrained critic would undo what a cloned actor can do.

    Attributes:
        anchor: how; None for plain PPO.
    """

    anchor: "Anchor | None" = None

    def train(self) -> None:
        """See :class:`stable_baselines3.PPO`."""
        hook = self.policy.optimizer.register_step_pre_hook(self._before_gradient_step)
        try:
            super().train()
        finally:
            hook.remove()
        if self.anchor is not None:
            weight = self.anchor.weight(self.num_timesteps)
            self.logger.record("train/cloning_weight", weight)
            if weight:
                with torch.no_grad():
                    self.logger.record("train/cloning_loss", float(self._cloning_loss()))

    def _before_gradient_step(self, *_: Any) -> None:
        anchor = self.anchor
        if anchor is None:
            return
        if self.num_timesteps <= anchor.critic_steps:
            for parameter in self.actor_parameters():
                parameter.grad = None  # Adam leaves such parameters and their moments alone
            return
        weight = anchor.weight(self.num_timesteps)
        if weight:
            (weight * self._cloning_loss()).backward()

    def actor_parameters(self) -> list[torch.nn.Parameter]:
        """What decides actions and their spread, and nothing of the critic's."""
        policy = self.policy
        parts = (policy.pi_features_extractor, policy.mlp_extractor.policy_net, policy.action_net)
        return [policy.log_std, *(one for part in parts for one in part.parameters())]

    def _cloning_loss(self) -> Tensor:
        """Mean squared error of the mean action, in units of the demonstrated spread."""
        anchor = self.anchor
        assert anchor is not None
        rows = torch.randint(len(anchor.actions), (self.batch_size,)).to(self.device)
        observation = {name: tensor[rows] for name, tensor in anchor.observations.items()}
        means = self.policy.get_distribution(observation).mode()
        return ((means - anchor.actions[rows]) / anchor.unit).square().mean()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "anchor"]


class Anchor:
    """What holds an actor near demonstrations.

    Args:
        demonstrations: to imitate.
        unit: (A,), what counts as an error of 1 in each dimension.
        weight: of the cloning loss at the start.
        until: step at which the weight has faded to 0.
        critic_steps: steps in which the critic learns alone.
        device: of the model.
    """

    def __init__(
        self,
        demonstrations: Transitions,
        unit: Tensor,
        weight: float,
        until: float,
        critic_steps: int,
        device: torch.device,
    ) -> None:
        self.observations = {
            name: torch.from_numpy(array).to(device)
            for name, array in demonstrations.observations.items()
        }
        self.actions = torch.from_numpy(demonstrations.actions).to(device)
        self.unit = unit.to(device)
        self.critic_steps = critic_steps
        self._weight = weight
        self._until = until

    def weight(self, step: int) -> float:
        """Of the cloning loss at a step; it falls evenly to 0."""
        return self._weight * max(1.0 - step / self._until, 0.0) if self._until else 0.0
