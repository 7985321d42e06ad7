"""From tokens and proprioception to the vector that networks of Stable-Baselines3 read."""

from collections.abc import Mapping

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from policies.actor import BASE_ACTION
from policies.mlp import MLPPolicy


class TokenFeatures(BaseFeaturesExtractor):
    """What stands before the head of an MLP policy, as a features extractor.

    Proprioception is standardized, each camera's tokens are normalized and pooled, and wide vectors
    pass a bottleneck, by the modules of :class:`policies.mlp.MLPPolicy` itself. An actor that takes
    up a cloned policy therefore sees what the clone sees. Statistics and what pooling fits come
    from the demonstrations and stay as they are; bottlenecks and poolings with weights go on
    learning.

    Args:
        observation_space: of :class:`~egodtm_robot.learning.reinforcement.vector_environment.
            FeatureVecEnv`, with ``base_action`` for a residual policy.
        trunk: whose modules are used; it is copied.
    """

    def __init__(self, observation_space: spaces.Dict, trunk: MLPPolicy) -> None:
        self._residual = BASE_ACTION in observation_space.spaces
        actions = trunk.spec.actions if self._residual else 0
        super().__init__(observation_space, trunk.narrowed_dimension + actions)
        self.trunk = copy_trunk(trunk)

    def forward(self, observations: Mapping[str, Tensor]) -> Tensor:
        """Observations (B, ...) to (B, F)."""
        narrowed = self.trunk.narrow(self.trunk.embed(observations))
        if not self._residual:
            return narrowed
        base = self.trunk.action_statistics(observations[BASE_ACTION])
        return torch.cat([narrowed, base], dim=1)


def copy_trunk(policy: MLPPolicy) -> MLPPolicy:
    """An MLP policy of the same weights without its head, which it then cannot act with."""
    copied = MLPPolicy(policy.config, policy.spec)
    copied.load_state_dict(policy.state_dict())
    copied.head = nn.Sequential()
    return copied
