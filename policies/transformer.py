"""Attention over frames: tokens and proprioception in, a chunk of actions out.

The layout of a decoder-only policy such as robomimic's BC-Transformer (Mandlekar et al., arXiv
2108.03298, in its later releases): everything is one sequence. The frames' tokens come first, and
one learned token for each action of the chunk gathers what it needs from them and from the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from policies.attention import ActionHead, TransformerConfig, TransformerLayer
from policies.base import ActionLoss, Batch, PolicyConfig, action_error
from policies.sampling import RowGenerators
from policies.spec import PROPRIOCEPTION, PolicySpec
from policies.token_policy import TokenPolicy, TokenPolicyConfig
from policies.tokens import TokenEmbedding


@dataclass
class TransformerPolicyConfig(TokenPolicyConfig):
    """Settings of :class:`TransformerPolicy`."""

    history: int = 1
    """Frames that an action is computed from. With few demonstrations more frames did worse: they
    tell the last actions, which a policy then repeats (docs/results/policies.md)."""

    action_chunk: int = 4
    """Actions predicted at once."""

    execute: int | None = 1
    """See :class:`policies.base.PolicyConfig`."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    """Its size."""

    loss: ActionLoss = "l1"
    """Of standardized actions."""


class TransformerPolicy(TokenPolicy):
    """A transformer over the tokens of one frame or of the last ones.

    Args:
        config: architecture.
        spec: shapes of inputs and actions.
    """

    kind: ClassVar[str] = "transformer"
    config_class: ClassVar[type[PolicyConfig]] = TransformerPolicyConfig
    config: TransformerPolicyConfig

    def __init__(self, config: TransformerPolicyConfig, spec: PolicySpec) -> None:
        super().__init__(config, spec)
        width = config.transformer.width
        self.embedding = TokenEmbedding(self.tokens, self.history, width)
        self.queries = nn.Parameter(0.02 * torch.randn(self.chunk, width))
        self.layers = nn.ModuleList(
            TransformerLayer(config.transformer) for _ in range(config.transformer.layers)
        )
        self.head = ActionHead(config.transformer, spec.actions)

    def forward(
        self, frames: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Tensor:
        """Standardized actions (B, C, A) from frames (B, T, ...) of what ``precompute`` gives."""
        observed = self.embedding(frames[PROPRIOCEPTION], self.tokens.numbers(frames, generator))
        queries = self.queries.expand(observed.shape[0], -1, -1)
        tokens = torch.cat((observed, queries), dim=1)
        for layer in self.layers:
            tokens = layer(tokens, generator=generator)
        return self.head(tokens[:, -self.chunk :])

    def loss(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean error of standardized actions, absolute or squared."""
        wanted = self.action_statistics(batch.actions)
        predicted = self(batch.observation, generator)
        loss, discount = self.config.loss, self.config.chunk_discount
        return action_error(predicted, wanted, batch.valid, loss, discount), {}

    def plan(
        self, observation: Mapping[str, Tensor], generator: RowGenerators | None = None
    ) -> Tensor:
        """Actions (B, C, A) in their own units."""
        return self.action_statistics.inverse(self(observation))
