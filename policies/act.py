"""ACT: chunks of actions from a transformer over camera tokens.

Zhao et al., Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware, arXiv 2304.13705.
An encoder attends among the tokens of what is observed; a decoder with one learned query for each
action of the chunk attends to them; errors count absolutely. Here the tokens come from any frozen
encoder, and one layer decodes, as in LeRobot's (a slip in the original used one of its seven).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from egodtm_robot.core.errors import ConfigurationError
from policies.attention import (
    ActionHead,
    TransformerConfig,
    TransformerLayer,
    make_norm,
    sinusoids,
)
from policies.base import Batch, PolicyConfig, action_error
from policies.sampling import RowGenerators
from policies.spec import PROPRIOCEPTION, PolicySpec
from policies.token_policy import TokenPolicy, TokenPolicyConfig
from policies.tokens import TokenEmbedding


@dataclass
class ACTPolicyConfig(TokenPolicyConfig):
    """Settings of :class:`ACTPolicy`."""

    action_chunk: int = 4
    """Actions predicted at once, 0.3 s of the kitchen's control. Theirs are 100, 2 s at 50 Hz. The
    experts here answer to what happens, with noise on what they execute: their later actions cannot
    be known, and longer chunks did worse (docs/results/policies.md)."""

    execute: int | None = 1
    """See :class:`policies.base.PolicyConfig`. ``policy.execute=null policy.ensemble=0.01`` is as
    published; the oldest plan for a step then weighs most, which did worse here too."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    """Size of encoder and decoder. Theirs has 512 numbers a token and 4 layers, for human data."""

    decoder_layers: int = 1
    """Layers of the decoder; LeRobot's."""

    cvae: bool = False
    """Whether an encoder of the demonstrated chunk hands a latent variable to the policy in
    training (a conditional variational autoencoder, as published); it is zero when the policy acts.
    It tells apart the ways in which people do one thing, and the experts here do it in one way."""

    latent: int = 32
    """Numbers of the latent variable of ``cvae``; theirs."""

    kl_weight: float = 10.0
    """Weight of the divergence of the latent variable from its prior; theirs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("decoder_layers", "latent"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Expected policy.{name} >= 1, got {getattr(self, name)}.")
        if not 0 <= self.kl_weight < float("inf"):
            raise ConfigurationError(
                f"Expected a finite policy.kl_weight >= 0, got {self.kl_weight}."
            )


class ACTPolicy(TokenPolicy):
    """Chunks of actions from a transformer over camera tokens and proprioception.

    Args:
        config: architecture.
        spec: shapes of inputs and actions.
    """

    kind: ClassVar[str] = "act"
    config_class: ClassVar[type[PolicyConfig]] = ACTPolicyConfig
    config: ACTPolicyConfig

    def __init__(self, config: ACTPolicyConfig, spec: PolicySpec) -> None:
        super().__init__(config, spec)
        width = config.transformer.width
        self.embedding = TokenEmbedding(self.tokens, self.history, width)
        self.encoder = nn.ModuleList(
            TransformerLayer(config.transformer) for _ in range(config.transformer.layers)
        )
        self.memory_norm = make_norm(config.transformer)
        self.queries = nn.Parameter(0.02 * torch.randn(self.chunk, width))
        self.decoder = nn.ModuleList(
            TransformerLayer(config.transformer, context=True) for _ in range(config.decoder_layers)
        )
        self.head = ActionHead(config.transformer, spec.actions)
        self.posterior = ChunkPosterior(config, spec, self.chunk) if config.cvae else None
        self.latent = nn.Linear(config.latent, width) if config.cvae else None

    def forward(
        self,
        frames: Mapping[str, Tensor],
        latent: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Standardized actions.

        Args:
            frames: (B, T, ...) of what ``precompute`` gives.
            latent: (B, Z); None for zeros, the prior's mean.
            generator: draws the bottlenecks' noise in training mode; None for none.

        Returns:
            (B, C, A).
        """
        numbers = self.tokens.numbers(frames, generator)
        memory = self.embedding(frames[PROPRIOCEPTION], numbers)
        if self.latent is not None:
            if latent is None:
                latent = memory.new_zeros(memory.shape[0], self.config.latent)
            memory = torch.cat((self.latent(latent)[:, None], memory), dim=1)
        for layer in self.encoder:
            memory = layer(memory, generator=generator)
        memory = self.memory_norm(memory)
        tokens = self.queries.expand(memory.shape[0], -1, -1)
        for layer in self.decoder:
            tokens = layer(tokens, memory, generator=generator)
        return self.head(tokens)

    def loss(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean absolute error of standardized actions, and the latent variable's divergence.

        Without a generator it is the error of the policy as it acts, with the latent at zero.
        """
        wanted = self.action_statistics(batch.actions)
        discount = self.config.chunk_discount
        if self.posterior is None or generator is None:
            predicted = self(batch.observation, None, generator)
            return action_error(predicted, wanted, batch.valid, "l1", discount), {}
        mean, log_variance = self.posterior(
            batch.observation[PROPRIOCEPTION][:, -1], wanted, batch.valid, generator
        )
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        latent = mean + noise * (0.5 * log_variance).exp()
        predicted = self(batch.observation, latent, generator)
        error = action_error(predicted, wanted, batch.valid, "l1", discount)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        parts = {"l1": error, "kl": divergence}
        return error + self.config.kl_weight * divergence, parts

    def plan(
        self, observation: Mapping[str, Tensor], generator: RowGenerators | None = None
    ) -> Tensor:
        """Actions (B, C, A) in their own units."""
        return self.action_statistics.inverse(self(observation))


class ChunkPosterior(nn.Module):
    """What a demonstrated chunk says of how it was done, beyond what is observed.

    Args:
        config: sizes.
        spec: shapes of inputs and actions.
        chunk: C.
    """

    places: Tensor

    def __init__(self, config: ACTPolicyConfig, spec: PolicySpec, chunk: int) -> None:
        super().__init__()
        width = config.transformer.width
        self.summary = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.proprioception = nn.Linear(spec.proprioception, width)
        self.actions = nn.Linear(spec.actions, width)
        self.register_buffer("places", sinusoids(torch.arange(chunk), width, 200.0))
        self.layers = nn.ModuleList(
            TransformerLayer(config.transformer) for _ in range(config.transformer.layers)
        )
        self.out = nn.Sequential(make_norm(config.transformer), nn.Linear(width, 2 * config.latent))

    def forward(
        self,
        proprioception: Tensor,
        actions: Tensor,
        valid: Tensor,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the latent variable.

        Args:
            proprioception: standardized, (B, P).
            actions: standardized, (B, C, A).
            valid: bool (B, C); what lies past the episode's end is not seen.
            generator: draws what the layers leave out in training; None leaves nothing out.

        Returns:
            (B, Z) each.
        """
        tokens = torch.cat(
            (
                self.summary.expand(len(actions), -1, -1),
                self.proprioception(proprioception)[:, None],
                self.actions(actions) + self.places,
            ),
            dim=1,
        )
        present = torch.cat((valid.new_ones(len(valid), 2), valid), dim=1)
        for layer in self.layers:
            tokens = layer(tokens, present=present, generator=generator)
        mean, log_variance = self.out(tokens[:, 0]).chunk(2, dim=1)
        return mean, log_variance
