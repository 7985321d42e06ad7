"""A multi-layer perceptron over frozen features, after R3M's behaviour cloning head.

Nair et al., R3M: A Universal Visual Representation for Robot Manipulation, 2022: an MLP of two
layers of 256 units over the concatenated feature and proprioception, last layer scaled by 0.01.
Theirs has BatchNorm in front (``input_normalization=batch``) and reads one vector a camera.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from policies.base import FEATURES_PREFIX, PROPRIOCEPTION, Policy, PolicySpec
from policies.normalization import Standardizer
from policies.pooling import Pooling, PoolingConfig, initialize_linear, make_pooling

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
INPUT_NORMALIZATIONS = ("batch", "scale")


@dataclass
class MLPPolicyConfig:
    """Settings of :class:`MLPPolicy`."""

    kind: str = "mlp"
    """The policy's name, as checkpoints carry it."""

    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    """How a camera's tokens become a vector."""

    hidden: list[int] = field(default_factory=lambda: [256, 256])
    """Units of each hidden layer; R3M's."""

    activation: str = "relu"
    """``relu`` or ``tanh`` (R3M's)."""

    input_normalization: str = "scale"
    """``scale``: proprioception standardised, features centred and divided by one number a camera,
    which leaves important and unimportant channels as far apart as they are. ``batch``: R3M's
    BatchNorm over all inputs, which lifts channels that hardly move to the level of those that
    matter; a value a little off the demonstrations then throws the policy off."""

    history: int = 1
    """Frames that an action is computed from."""

    action_chunk: int = 1
    """Actions predicted at once and executed before the next look."""

    def __post_init__(self) -> None:
        if self.kind != MLPPolicy.kind:
            raise UnknownNameError("policy", self.kind, (MLPPolicy.kind,))
        if self.activation not in ACTIVATIONS:
            raise UnknownNameError("activation", self.activation, tuple(ACTIVATIONS))
        if self.input_normalization not in INPUT_NORMALIZATIONS:
            raise UnknownNameError(
                "input normalization", self.input_normalization, INPUT_NORMALIZATIONS
            )
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigurationError(
                f"Expected policy.hidden to list at least one positive width, got {self.hidden}."
            )
        for name in ("history", "action_chunk"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Expected policy.{name} >= 1, got {getattr(self, name)}.")


class MLPPolicy(Policy):
    """Frozen features and proprioception in, actions out.

    Args:
        config: architecture.
        spec: shapes of inputs and actions.

    Raises:
        PoolingError: the features' shape does not allow the pooling asked for.
    """

    kind: ClassVar[str] = "mlp"

    def __init__(self, config: MLPPolicyConfig, spec: PolicySpec) -> None:
        super().__init__()
        self.config = config
        self.spec = spec
        self.history = config.history
        self.chunk = config.action_chunk
        self.proprioception_statistics = Standardizer(spec.proprioception)
        self.action_statistics = Standardizer(spec.actions)
        # Cameras are numbered: a camera's name need not be a legal module name.
        self.feature_statistics = nn.ModuleList(
            Standardizer(shape.dimension) for shape in spec.features.values()
        )
        self.poolings = nn.ModuleList(
            make_pooling(config.pooling, shape) for shape in spec.features.values()
        )
        self.embedding_dimension = spec.proprioception + sum(
            _as_pooling(pooling).output_dimension for pooling in self.poolings
        )
        self.embedding_is_fixed = not any(True for _ in self.poolings.parameters())
        width = self.history * self.embedding_dimension
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
        """Draw all weights anew from ``generator`` and reset all statistics."""
        for module in self.modules():
            if isinstance(module, Standardizer):
                module.reset()
            elif isinstance(module, Pooling):
                module.initialize(generator)
            elif isinstance(module, nn.BatchNorm1d):
                module.reset_parameters()
        for module in self.head:
            if isinstance(module, nn.Linear):
                initialize_linear(module, generator)
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        # Near-zero first outputs: the standardised targets' mean, as R3M starts.
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

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, k * F) to standardised actions (B, C, A)."""
        return self.head(inputs).unflatten(1, (self.chunk, self.spec.actions))


def make_policy(config: MLPPolicyConfig, spec: PolicySpec, generator: torch.Generator) -> MLPPolicy:
    """A policy whose weights come from ``generator`` alone, never from PyTorch's global one."""
    with torch.device("meta"):
        policy = MLPPolicy(config, spec)
    policy.to_empty(device="cpu")
    policy.initialize(generator)
    return policy


def _as_pooling(module: nn.Module) -> Pooling:
    assert isinstance(module, Pooling)
    return module
