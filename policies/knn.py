"""Nearest neighbors on frozen features: a policy that takes no gradient steps.

Pari et al., The Surprising Effectiveness of Representation Learning for Visual Imitation (VINN),
arXiv 2112.01511: the action is the mean of the actions of the nearest demonstrated steps, weighted
by the softmax of their negative distances. What a policy reads besides images joins the distance,
each modality scaled to the same length, so that none is nearer by its unit alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from egodtm_robot.core.errors import ConfigurationError, PoolingError
from policies.base import Batch, Policy, PolicyConfig, action_error
from policies.normalization import Standardizer
from policies.pooling import Pooling, PoolingConfig, make_pooling
from policies.sampling import RowGenerators
from policies.spec import FEATURES_PREFIX, PROPRIOCEPTION, PolicySpec

_EMBEDDED = "embedded"


@dataclass
class KNNPolicyConfig(PolicyConfig):
    """Settings of :class:`KNNPolicy`."""

    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    """How a camera's tokens become a vector; a kind with weights to learn is refused."""

    neighbors: int = 16
    """Demonstrated steps whose actions are averaged; all, where there are fewer."""

    temperature: float = 0.1
    """Distance over which a neighbor's weight falls by a factor of e. Each modality has a root mean
    square length of 1, so that two steps at random are about 1.4 apart in each."""

    proprioception_weight: float = 1.0
    """Scale of the robot's own state beside a camera's, whose scale is 1; 0 leaves it out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbors < 1:
            raise ConfigurationError(f"Expected policy.neighbors >= 1, got {self.neighbors}.")
        if not self.temperature > 0 or not self.proprioception_weight >= 0:
            raise ConfigurationError(
                "Expected policy.temperature > 0 and policy.proprioception_weight >= 0, got "
                f"{self.temperature} and {self.proprioception_weight}."
            )


class KNNPolicy(Policy):
    """The weighted mean of what was done in the most similar demonstrated steps.

    Args:
        config: how neighbors are found and weighted.
        spec: shapes of inputs and actions.

    Attributes:
        bank: (N, T * F), the demonstrated steps' vectors.
        bank_actions: (N, C, A) in [-1, 1], what was done in them.
        bank_valid: bool (N, C), False past an episode's end.

    Raises:
        PoolingError: the pooling has weights to learn, or does not fit the features' shape.
    """

    kind: ClassVar[str] = "knn"
    config_class: ClassVar[type[PolicyConfig]] = KNNPolicyConfig
    config: KNNPolicyConfig
    lengths: Tensor
    bank: Tensor
    bank_actions: Tensor
    bank_valid: Tensor

    def __init__(self, config: KNNPolicyConfig, spec: PolicySpec) -> None:
        super().__init__(config, spec)
        self.action_statistics = Standardizer(spec.actions)
        self.proprioception_statistics = Standardizer(spec.proprioception)
        # Cameras are numbered: a camera's name need not be a legal module name.
        self.feature_statistics = nn.ModuleList(
            Standardizer(shape.dimension) for shape in spec.features.values()
        )
        self.poolings = nn.ModuleList(
            make_pooling(config.pooling, shape) for shape in spec.features.values()
        )
        if any(True for _ in self.poolings.parameters()):
            raise PoolingError(
                f"policy=knn learns no weights, which policy.pooling.kind={config.pooling.kind} "
                "has. Choose principal, mean, grid or flatten."
            )
        self.register_buffer("lengths", torch.ones(1 + len(spec.features)))
        self._register_bank(torch.zeros(0, 0), torch.zeros(0, self.chunk, spec.actions))

    def fit_statistics(self, observation: Mapping[str, Tensor], actions: Tensor) -> None:
        """Take the statistics of inputs (N, ...) and actions (N, A), and each modality's length."""
        self.action_statistics.fit(actions)
        self.proprioception_statistics.fit(observation[PROPRIOCEPTION])
        for camera, statistics, pooling in zip(
            self.spec.features, self.feature_statistics, self.poolings, strict=True
        ):
            assert isinstance(statistics, Standardizer)
            assert isinstance(pooling, Pooling)
            tokens = observation[FEATURES_PREFIX + camera]
            statistics.fit(tokens, shared_scale=True)
            pooling.fit(statistics(tokens))
        for index, vectors in enumerate(self._modalities(observation)):
            length = vectors.square().sum(1).mean().sqrt()
            self.lengths[index] = torch.where(length > 0, length, 1.0)

    def precompute(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each frame's vector (B, F), every modality with a root mean square length of 1."""
        weights = torch.ones_like(self.lengths)
        weights[0] = self.config.proprioception_weight
        parts = [
            vectors * (weight / length)
            for vectors, weight, length in zip(
                self._modalities(observation), weights, self.lengths, strict=True
            )
        ]
        return {_EMBEDDED: torch.cat(parts, dim=1)}

    def fit(self, batches: Iterable[Batch]) -> None:
        """Keep every demonstrated step with its actions."""
        kept = list(batches)
        self._register_bank(
            torch.cat([batch.observation[_EMBEDDED].flatten(1) for batch in kept]),
            torch.cat([batch.actions for batch in kept]),
            torch.cat([batch.valid for batch in kept]),
        )

    def plan(
        self, observation: Mapping[str, Tensor], generator: RowGenerators | None = None
    ) -> Tensor:
        """The neighbors' actions (B, C, A), weighted by the softmax of their negative distances."""
        queries = observation[_EMBEDDED].flatten(1)
        # The faster form by matrix products loses small distances to rounding.
        distances = torch.cdist(queries, self.bank, compute_mode="donot_use_mm_for_euclid_dist")
        nearest, indices = distances.topk(min(self.config.neighbors, len(self.bank)), largest=False)
        weights = (-nearest / self.config.temperature).softmax(dim=1)[:, :, None]
        # Past its episode's end a neighbor has nothing to say, unless no other has either.
        valid = self.bank_valid[indices]
        weights = weights * (valid | ~valid.any(1, keepdim=True))
        weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-12)
        return (weights[..., None] * self.bank_actions[indices]).sum(dim=1)

    def loss(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of standardized actions, the same number as an MLP's."""
        predicted = self.action_statistics(self.plan(batch.observation))
        wanted, discount = self.action_statistics(batch.actions), self.config.chunk_discount
        return action_error(predicted, wanted, batch.valid, discount=discount), {}

    def resize_buffers(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make room for the bank that a checkpoint holds."""
        rows, width = shapes["bank"]
        self._register_bank(
            torch.zeros(rows, width), torch.zeros(rows, self.chunk, self.spec.actions)
        )

    def _modalities(self, observation: Mapping[str, Tensor]) -> list[Tensor]:
        """Standardized proprioception (B, P) and each camera's pooled vector (B, ...)."""
        cameras = zip(self.spec.features, self.feature_statistics, self.poolings, strict=True)
        return [
            self.proprioception_statistics(observation[PROPRIOCEPTION]),
            *(
                pooling(scale(observation[FEATURES_PREFIX + name]))
                for name, scale, pooling in cameras
            ),
        ]

    def _register_bank(self, vectors: Tensor, actions: Tensor, valid: Tensor | None = None) -> None:
        if valid is None:
            valid = torch.ones(actions.shape[:2], dtype=torch.bool)
        self.register_buffer("bank", vectors)
        self.register_buffer("bank_actions", actions)
        self.register_buffer("bank_valid", valid)
