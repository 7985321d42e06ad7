"""A multi-layer perceptron over frozen features, after R3M's behavior cloning head.

Nair et al., R3M: A Universal Visual Representation for Robot Manipulation, 2022: an MLP of two
layers of 256 units over the concatenated feature and proprioception, last layer scaled by 0.01.
Theirs has BatchNorm in front (``input_normalization=batch``) and reads one vector a camera.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.training.identity import ADDED_LATER
from policies.base import ActionLoss, Batch, Policy, PolicyConfig, action_error
from policies.bottleneck import NARROW, Bottleneck
from policies.normalization import Standardizer
from policies.pooling import Pooling, PoolingConfig, initialize_linear, make_pooling
from policies.sampling import RowGenerators
from policies.spec import FEATURES_PREFIX, PROPRIOCEPTION, PolicySpec

Activation = Literal["relu", "tanh"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


@dataclass
class MLPPolicyConfig(PolicyConfig):
    """Settings of :class:`MLPPolicy`."""

    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    """How a camera's tokens become a vector."""

    hidden: list[int] = field(default_factory=lambda: [256, 256])
    """Units of each hidden layer; R3M's."""

    activation: Activation = "relu"
    """``relu`` or ``tanh`` (R3M's)."""

    input_normalization: Literal["batch", "scale"] = "scale"
    """``scale``: proprioception standardized, features centered and divided by one number a camera,
    which leaves important and unimportant channels as far apart as they are. ``batch``: R3M's
    BatchNorm over all inputs, which lifts channels that hardly move to the level of those that
    matter; a value a little off the demonstrations then throws the policy off."""

    bottleneck: int = 4
    """Numbers that a camera passes on: a learned linear map of its pooled vector, where that is
    wider than 64. What a policy needs from a camera is where things are, a few numbers; a wide
    input lets it know the training episodes by sight and imitate worse than from proprioception
    alone. 0 passes on the pooled vector itself."""

    bottleneck_noise: float = 0.3
    """Deviation of the Gaussian noise on those numbers in training, drawn again each step: what is
    told apart must differ by more than this (Alemi et al., Deep Variational Information Bottleneck,
    2017, with the variance fixed)."""

    loss: ActionLoss = field(default="mse", metadata=ADDED_LATER)
    """Of standardized actions. ``mse``: squared errors, R3M's. ``l1``: absolute errors, as for the
    chunks of ACT (Zhao et al. 2023); a few steps that differ pull less on the others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigurationError(
                f"Expected policy.hidden to list at least one positive width, got {self.hidden}."
            )
        if self.bottleneck < 0 or not 0 <= self.bottleneck_noise < math.inf:
            raise ConfigurationError(
                "Expected policy.bottleneck >= 0 and a finite policy.bottleneck_noise >= 0, got "
                f"{self.bottleneck} and {self.bottleneck_noise}."
            )


class MLPPolicy(Policy):
    """Frozen features and proprioception in, actions out.

    Args:
        config: architecture.
        spec: shapes of inputs and actions.

    Raises:
        PoolingError: the features' shape does not allow the pooling asked for.
    """

    kind: ClassVar[str] = "mlp"
    config_class: ClassVar[type[PolicyConfig]] = MLPPolicyConfig
    config: MLPPolicyConfig

    def __init__(self, config: MLPPolicyConfig, spec: PolicySpec) -> None:
        super().__init__(config, spec)
        self.proprioception_statistics = Standardizer(spec.proprioception)
        self.action_statistics = Standardizer(spec.actions)
        # Cameras are numbered: a camera's name need not be a legal module name.
        self.feature_statistics = nn.ModuleList(
            Standardizer(shape.dimension) for shape in spec.features.values()
        )
        self.poolings = nn.ModuleList(
            make_pooling(config.pooling, shape) for shape in spec.features.values()
        )
        pooled = [_as_pooling(pooling).output_dimension for pooling in self.poolings]
        self.widths = [spec.proprioception, *pooled]
        self.embedding_dimension = sum(self.widths)
        self.precompute_is_fixed = not any(True for _ in self.poolings.parameters())
        # In front of the head and not in the pooling: what is fixed is then computed only once.
        self.bottlenecks = nn.ModuleDict(
            {
                str(index): Bottleneck(units, config.bottleneck, config.bottleneck_noise)
                for index, units in enumerate(pooled, start=1)
                if config.bottleneck and units > NARROW
            }
        )
        self.narrowed_dimension = self.history * sum(
            config.bottleneck if str(index) in self.bottlenecks else units
            for index, units in enumerate(self.widths)
        )
        width = self.narrowed_dimension
        layers: list[nn.Module] = []
        if config.input_normalization == "batch":
            # No scale and shift: the next layer has them anyway, and they cost a fifth of a step.
            layers.append(nn.BatchNorm1d(width, affine=False))
        for units in config.hidden:
            layers += [nn.Linear(width, units), ACTIVATIONS[config.activation]()]
            width = units
        layers.append(nn.Linear(width, self.chunk * spec.actions))
        self.head = nn.Sequential(*layers)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights from ``generator`` and reset all statistics."""
        for module in self.modules():
            if isinstance(module, Standardizer):
                module.reset()
            elif isinstance(module, Pooling | Bottleneck):
                module.initialize(generator)
            elif isinstance(module, nn.BatchNorm1d):
                module.reset_parameters()
        for module in self.head:
            if isinstance(module, nn.Linear):
                initialize_linear(module, generator)
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        # Near-zero first outputs: the standardized targets' mean, as R3M starts.
        last.weight.mul_(0.01)
        last.bias.mul_(0.01)

    def fit_statistics(self, observation: Mapping[str, Tensor], actions: Tensor) -> None:
        """Take the statistics of inputs (N, ...) and actions (N, A) from demonstrations."""
        self.proprioception_statistics.fit(observation[PROPRIOCEPTION])
        self.action_statistics.fit(actions)
        shared = self.config.input_normalization == "scale"
        for camera, statistics, pooling in zip(
            self.spec.features, self.feature_statistics, self.poolings, strict=True
        ):
            assert isinstance(statistics, Standardizer)
            tokens = observation[FEATURES_PREFIX + camera]
            statistics.fit(tokens, shared_scale=shared)
            _as_pooling(pooling).fit(statistics(tokens))

    def embed(self, observation: Mapping[str, Tensor]) -> Tensor:
        """One frame's observation, each (B, ...), to a vector (B, F)."""
        parts = [self.proprioception_statistics(observation[PROPRIOCEPTION])]
        for camera, statistics, pooling in zip(
            self.spec.features, self.feature_statistics, self.poolings, strict=True
        ):
            parts.append(pooling(statistics(observation[FEATURES_PREFIX + camera])))
        return torch.cat(parts, dim=1)

    def precompute(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each frame's vector (B, F), as ``embedded``."""
        return {"embedded": self.embed(observation)}

    def loss(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean error of standardized actions, squared or absolute."""
        predicted = self(batch.observation["embedded"].flatten(1), generator)
        wanted = self.action_statistics(batch.actions)
        loss, discount = self.config.loss, self.config.chunk_discount
        return action_error(predicted, wanted, batch.valid, loss, discount), {}

    def plan(
        self, observation: Mapping[str, Tensor], generator: RowGenerators | None = None
    ) -> Tensor:
        """Actions (B, C, A) in their own units."""
        return self.action_statistics.inverse(self(observation["embedded"].flatten(1)))

    def forward(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Standardized actions.

        Args:
            inputs: (B, T * F), the vectors of the last T frames, the oldest first.
            generator: draws the bottleneck's noise in training mode; None for none.

        Returns:
            (B, C, A).
        """
        narrowed = self.narrow(inputs, generator)
        return self.head(narrowed).unflatten(1, (self.chunk, self.spec.actions))

    def narrow(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the head reads: the vectors with each wide camera behind its bottleneck.

        Args:
            inputs: see :meth:`forward`.
            generator: see :meth:`forward`.

        Returns:
            (B, ``narrowed_dimension``).
        """
        if not self.bottlenecks:
            return inputs
        frames = inputs.unflatten(1, (self.history, self.embedding_dimension))
        parts = list(frames.split(self.widths, dim=2))
        for index, bottleneck in self.bottlenecks.items():
            parts[int(index)] = bottleneck(parts[int(index)], generator)
        return torch.cat(parts, dim=2).flatten(1)


def _as_pooling(module: nn.Module) -> Pooling:
    assert isinstance(module, Pooling)
    return module
