"""What policies over tokens share: their inputs, standardized actions and statistics."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from policies.base import Policy, PolicyConfig
from policies.normalization import Standardizer
from policies.spec import PolicySpec
from policies.tokens import ObservationTokens, TokensConfig


@dataclass
class TokenPolicyConfig(PolicyConfig):
    """Settings of every :class:`TokenPolicy`."""

    tokens: TokensConfig = field(default_factory=TokensConfig)
    """What is read of each frame."""


class TokenPolicy(Policy):
    """Reads tokens of each camera and proprioception, and plans standardized actions.

    A subclass defines ``plan`` and ``loss`` on what :meth:`precompute` gives.
    """

    config: TokenPolicyConfig

    def __init__(self, config: TokenPolicyConfig, spec: PolicySpec) -> None:
        super().__init__(config, spec)
        self.action_statistics = Standardizer(spec.actions)
        self.tokens = ObservationTokens(config.tokens, spec)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the bottlenecks; the other weights are those of the constructor."""
        self.tokens.initialize(generator)

    def fit_statistics(self, observation: Mapping[str, Tensor], actions: Tensor) -> None:
        """Take the statistics of inputs (N, ...) and actions (N, A) from demonstrations."""
        self.action_statistics.fit(actions)
        self.tokens.fit_statistics(observation)

    def precompute(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See :meth:`policies.tokens.ObservationTokens.precompute`."""
        return self.tokens.precompute(observation)
