"""Diffusion policy: actions are sampled by removing noise, given what is observed.

Chi et al., Diffusion Policy, arXiv 2303.04137: a chunk is denoised as a whole and the first part of
it is executed. A small perceptron serves as the denoiser as well as their U-Net of hundreds of
millions of weights (arXiv 2511.12101), and so few steps as one where actions are matched by flow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

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
from policies.base import ActionLoss, Batch, PolicyConfig, action_error
from policies.denoising import DIFFUSION_STEPS, Method, make_denoising
from policies.sampling import RowGenerators
from policies.spec import PROPRIOCEPTION, PolicySpec
from policies.token_policy import TokenPolicy, TokenPolicyConfig
from policies.tokens import TokenEmbedding

DenoiserKind = Literal["mlp", "transformer"]

_TIME_NUMBERS = 32


@dataclass
class DiffusionPolicyConfig(TokenPolicyConfig):
    """Settings of :class:`DiffusionPolicy`."""

    action_chunk: int = 4
    """Actions denoised at once; theirs are 16."""

    execute: int | None = 1
    """See :class:`policies.base.PolicyConfig`. Theirs is half of the chunk; the experts here answer
    to what happens, and looking at every step did better (docs/results/policies.md)."""

    method: Method = "flow"
    """``flow``: flow matching. ``ddim``: diffusion sampled without noise; needs the extra
    ``diffusion``. See :mod:`policies.denoising`."""

    steps: int = 4
    """Calls of the denoiser for a plan; with ``ddim`` at most 100."""

    loss: ActionLoss = "l1"
    """Of the standardized actions that the denoiser says. ``mse``, as published, samples all that
    was demonstrated as often as it was; ``l1`` keeps to what is usual (Saharia et al., Palette,
    arXiv 2111.05826)."""

    denoiser: DenoiserKind = "mlp"
    """``mlp``: a perceptron over everything side by side. ``transformer``: a token for each action
    attends to the others and to the tokens of what is observed."""

    hidden: list[int] = field(default_factory=lambda: [256, 256, 256])
    """Units of each hidden layer of ``mlp``."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    """Size of ``transformer``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigurationError(
                f"Expected policy.hidden to list at least one positive width, got {self.hidden}."
            )
        if self.steps < 1:
            raise ConfigurationError(f"Expected policy.steps >= 1, got {self.steps}.")
        if self.method == "ddim" and self.steps > DIFFUSION_STEPS:
            raise ConfigurationError(
                f"Expected policy.steps <= {DIFFUSION_STEPS} with policy.method=ddim, which is "
                f"trained on as many levels of noise, got {self.steps}."
            )


class DiffusionPolicy(TokenPolicy):
    """Samples chunks of actions by removing noise.

    Args:
        config: architecture and method.
        spec: shapes of inputs and actions.

    Raises:
        MissingPackageError: the method needs a library that is not installed.
    """

    kind: ClassVar[str] = "diffusion"
    config_class: ClassVar[type[PolicyConfig]] = DiffusionPolicyConfig
    samples: ClassVar[bool] = True
    config: DiffusionPolicyConfig

    def __init__(self, config: DiffusionPolicyConfig, spec: PolicySpec) -> None:
        super().__init__(config, spec)
        self.denoising = make_denoising(config.method, config.steps)
        self.denoiser: MLPDenoiser | TransformerDenoiser
        if config.denoiser == "mlp":
            observed = self.history * self.tokens.vector_dimension
            self.denoiser = MLPDenoiser(observed, self.chunk, spec.actions, config.hidden)
        else:
            self.embedding = TokenEmbedding(self.tokens, self.history, config.transformer.width)
            self.denoiser = TransformerDenoiser(config.transformer, self.chunk, spec.actions)

    def observed(
        self, frames: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Tensor:
        """What the denoiser knows: (B, F) for the perceptron, (B, L, W) for the transformer."""
        if isinstance(self.denoiser, MLPDenoiser):
            return self.tokens.vector(frames, generator)
        return self.embedding(frames[PROPRIOCEPTION], self.tokens.numbers(frames, generator))

    def loss(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean error of the standardized actions that the denoiser says of noised ones.

        Without a generator the noise is the same at every call and the times are evenly spaced.
        """
        wanted = self.action_statistics(batch.actions)
        rows, device = len(wanted), wanted.device
        if generator is None:
            fixed = torch.Generator(device).manual_seed(0)
            uniform = (torch.arange(rows, device=device) + 0.5) / rows
            noise = torch.randn(wanted.shape, generator=fixed, device=device)
        else:
            uniform = torch.rand(rows, generator=generator, device=device)
            noise = torch.randn(wanted.shape, generator=generator, device=device)
        times = self.denoising.times(uniform)
        noised = self.denoising.noised(wanted, noise, times)
        observed = self.observed(batch.observation, generator)
        if isinstance(self.denoiser, TransformerDenoiser):
            said = self.denoiser(noised, times, observed, generator)
        else:
            said = self.denoiser(noised, times, observed)
        loss, discount = self.config.loss, self.config.chunk_discount
        return action_error(said, wanted, batch.valid, loss, discount), {}

    def plan(
        self, observation: Mapping[str, Tensor], generator: RowGenerators | None = None
    ) -> Tensor:
        """Actions (B, C, A) in their own units, from noise that each row draws by itself."""
        assert generator is not None
        observed = self.observed(observation)
        noise = generator.normal(self.chunk, self.spec.actions)
        sampled = self.denoising.sample(
            noise, lambda noised, times: self.denoiser(noised, times, observed)
        )
        return self.action_statistics.inverse(sampled)


class MLPDenoiser(nn.Module):
    """A perceptron over noised actions, time and what is observed, with residual layers.

    Args:
        observed: F, numbers of what is observed.
        chunk: C.
        actions: A.
        hidden: units of each layer.
    """

    def __init__(self, observed: int, chunk: int, actions: int, hidden: list[int]) -> None:
        super().__init__()
        self.shape = (chunk, actions)
        width = observed + _TIME_NUMBERS + chunk * actions
        layers: list[nn.Module] = []
        for units in hidden:
            layers.append(_Units(width, units))
            width = units
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(width, chunk * actions)

    def forward(self, noised: Tensor, times: Tensor, observed: Tensor) -> Tensor:
        """(B, C, A), (B,) and (B, F) to (B, C, A)."""
        told = (observed, _time_numbers(times, _TIME_NUMBERS), noised.flatten(1))
        return self.out(self.layers(torch.cat(told, dim=1))).unflatten(1, self.shape)


class _Units(nn.Module):
    """A linear map with a rectifier, added to its input where the widths agree."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.residual = inputs == outputs

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = nn.functional.silu(self.linear(inputs))
        return inputs + outputs if self.residual else outputs


class TransformerDenoiser(nn.Module):
    """A token for each noised action attends to the others, to the time and to what is observed.

    Args:
        config: sizes.
        chunk: C.
        actions: A.
    """

    def __init__(self, config: TransformerConfig, chunk: int, actions: int) -> None:
        super().__init__()
        self.actions = nn.Linear(actions, config.width)
        self.places = nn.Parameter(0.02 * torch.randn(chunk, config.width))
        self.time = nn.Sequential(
            nn.Linear(_TIME_NUMBERS, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )
        self.memory_norm = make_norm(config)
        self.layers = nn.ModuleList(
            TransformerLayer(config, context=True) for _ in range(config.layers)
        )
        self.head = ActionHead(config, actions)

    def forward(
        self,
        noised: Tensor,
        times: Tensor,
        observed: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """(B, C, A), (B,) and (B, L, W) to (B, C, A); ``generator`` draws the layers' dropout."""
        time = self.time(_time_numbers(times, _TIME_NUMBERS))[:, None]
        memory = self.memory_norm(torch.cat((observed, time), dim=1))
        tokens = self.actions(noised) + self.places + time
        for layer in self.layers:
            tokens = layer(tokens, memory, generator=generator)
        return self.head(tokens)


def _time_numbers(times: Tensor, width: int) -> Tensor:
    """Times (B,) in [0, 1] as (B, width), told apart to about a hundredth."""
    return sinusoids(100 * times, width, 1000.0)
