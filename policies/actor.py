"""The actor that reinforcement learning leaves behind, alone or as the correction of a policy.

``egodtm_robot.train_rl`` writes it. It holds everything that acts and nothing that learns, so that
rollouts and exports need neither Stable-Baselines3 nor the folder of the cloned policy.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from egodtm_robot.core.configuration.instantiation import typed_options
from egodtm_robot.core.errors import ConfigurationError, PolicyOptionError
from policies.base import Batch, Policy, PolicyConfig, PolicyState
from policies.mlp import ACTIVATIONS, MLPPolicy, MLPPolicyConfig
from policies.registry import find_policy, user_import_path
from policies.sampling import RowGenerators
from policies.spec import PROPRIOCEPTION, PolicySpec

BASE_ACTION = "base_action"
"""Key of an observation: what the frozen policy below a residual one does, in [-1, 1]."""

_EMBEDDED = "embedded"


@dataclass
class ActorPolicyConfig(PolicyConfig):
    """Settings of :class:`ActorPolicy`."""

    trunk: MLPPolicyConfig = field(default_factory=MLPPolicyConfig)
    """What stands before the hidden layers, as in an MLP policy."""

    hidden: list[int] = field(default_factory=lambda: [256, 256])
    """Units of each hidden layer."""

    squashed: bool = False
    """Whether a hyperbolic tangent limits actions, as SAC's do; they are clipped without."""

    base: dict[str, Any] = field(default_factory=dict)
    """The frozen policy that is corrected: ``kind``, ``version``, ``import_path`` and ``config``;
    empty for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigurationError(
                f"Expected policy.hidden to list at least one positive width, got {self.hidden}."
            )
        if self.history != 1 or self.action_chunk != 1:
            raise ConfigurationError(
                "Expected history=1 and action_chunk=1 of an actor, which sees one frame and gives "
                f"one action, got {self.history} and {self.action_chunk}."
            )


class ActorPolicy(Policy):
    """The mean action of an actor that learned by reinforcement.

    Args:
        config: architecture.
        spec: shapes of inputs and actions.

    Attributes:
        trunk: standardizes and pools what is seen; an MLP policy without its head.
        head: the actor's layers.
        base: the frozen policy that is corrected; None where the actor acts alone.
        scale: (A,), the largest correction; of no effect without ``base``.

    Raises:
        PolicyOptionError: there is no policy of the base's kind and version.
    """

    kind: ClassVar[str] = "actor"
    config_class: ClassVar[type[PolicyConfig]] = ActorPolicyConfig
    config: ActorPolicyConfig
    scale: Tensor

    def __init__(self, config: ActorPolicyConfig, spec: PolicySpec) -> None:
        super().__init__(config, spec)
        self.trunk = MLPPolicy(config.trunk, spec)
        self.trunk.head = nn.Sequential()
        self.base = _base(config.base, spec) if config.base else None
        width = self.trunk.narrowed_dimension + (0 if self.base is None else spec.actions)
        layers: list[nn.Module] = []
        for units in config.hidden:
            layers += [nn.Linear(width, units), ACTIVATIONS[config.trunk.activation]()]
            width = units
        self.head = nn.Sequential(*layers, nn.Linear(width, spec.actions))
        self.register_buffer("scale", torch.ones(spec.actions))

    def resize_buffers(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """See :class:`policies.base.Policy`."""
        for name, part in (("trunk.", self.trunk), ("base.", self.base)):
            if part is not None:
                part.resize_buffers(
                    {
                        key.removeprefix(name): shape
                        for key, shape in shapes.items()
                        if key.startswith(name)
                    }
                )

    def tensors(self, observation: Mapping[str, Any]) -> dict[str, Tensor]:
        """See :class:`policies.base.Policy`; ``base_action`` (B, A) is taken where it is given."""
        found = super().tensors(observation)
        if BASE_ACTION in observation:
            found[BASE_ACTION] = torch.as_tensor(
                observation[BASE_ACTION], dtype=torch.float32, device=self.device
            )
        return found

    def predict(
        self,
        observation: Mapping[str, Any],
        state: PolicyState | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, PolicyState | None]:
        """See :class:`policies.base.Policy`; all memory is the frozen policy's."""
        if self.base is None:
            return super().predict(observation, state, episode_start, deterministic)
        single = np.ndim(observation.get(PROPRIOCEPTION, np.zeros((1, 1)))) == 1
        if single:
            observation = {key: value[None] for key, value in observation.items()}
        acted, state = self.base.predict(observation, state, episode_start, deterministic)
        actions, _ = super().predict({**observation, BASE_ACTION: acted})
        return (actions[0] if single else actions), state

    def precompute(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each frame's vector (B, F), and what the frozen policy does there, (B, A).

        Raises:
            PolicyOptionError: the frozen policy has memory, and ``base_action`` is not given.
        """
        found = {_EMBEDDED: self.trunk.embed(observation)}
        if self.base is not None:
            given = observation.get(BASE_ACTION)
            found[BASE_ACTION] = self._base_action(observation) if given is None else given
        return found

    def _base_action(self, observation: Mapping[str, Tensor]) -> Tensor:
        base = self.base
        assert base is not None
        if base.history > 1 or base.chunk > 1 or base.samples:
            raise PolicyOptionError(
                "Expected a corrected policy that sees one frame, gives one action and draws "
                f"nothing, got {base.kind} with history={base.history}, "
                f"action_chunk={base.chunk}{' that draws' if base.samples else ''}: what it "
                "remembers cannot be an input of one network. A rollout carries it along; for a "
                "file, correct a policy without memory."
            )
        frame = {name: tensor[:, None] for name, tensor in base.precompute(observation).items()}
        return base.plan(frame)[:, 0].clamp(-1.0, 1.0)

    def plan(
        self, observation: Mapping[str, Tensor], generator: RowGenerators | None = None
    ) -> Tensor:
        """Actions (B, 1, A)."""
        inputs = self.trunk.narrow(observation[_EMBEDDED].flatten(1))
        if self.base is None:
            return self._actor(inputs)[:, None]
        base = observation[BASE_ACTION][:, 0]
        seen = torch.cat([inputs, self.trunk.action_statistics(base)], dim=1)
        return (base + self.scale * self._actor(seen).clamp(-1.0, 1.0))[:, None]

    def _actor(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.head(inputs)
        return found.tanh() if self.config.squashed else found

    def loss(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """An actor is not cloned.

        Raises:
            PolicyOptionError: always.
        """
        raise PolicyOptionError(
            "Expected a policy that learns from demonstrations, got an actor, which learns by "
            "reinforcement: python -m egodtm_robot.train_rl."
        )


def base_record(base: Policy) -> dict[str, Any]:
    """What :class:`ActorPolicyConfig` says of the policy that is corrected."""
    return {
        "kind": base.kind,
        "version": base.version,
        "import_path": user_import_path(type(base)),
        "config": dataclasses.asdict(base.config),
    }


def _base(record: Mapping[str, Any], spec: PolicySpec) -> Policy:
    found = find_policy(str(record["kind"]), record.get("import_path"))
    if found.version != record["version"]:
        raise PolicyOptionError(
            f"Expected version {found.version} of the corrected policy {found.kind!r}, got "
            f"{record['version']!r}; it was written by another version of the toolkit."
        )
    return found(typed_options("policy", found.config_class, record["config"]), spec)
