"""SAC: the choice ``algorithm=sac``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from egodtm_robot.core.configuration import Bounds, NonNegativeInt, PositiveInt
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.learning.reinforcement.algorithm import Algorithm, StartKind

if TYPE_CHECKING:
    from stable_baselines3 import SAC
    from stable_baselines3.common.vec_env import VecEnv

    from egodtm_robot.learning.reinforcement.start import Start
    from policies.registry import PolicyChoice


@dataclass
class SACAlgorithm(Algorithm):
    """Soft actor-critic, Haarnoja et al. 2018, by Stable-Baselines3."""

    kind: ClassVar[str] = "sac"

    steps: PositiveInt = 20_000
    """Steps of all environments together."""

    buffer_steps: PositiveInt = 200_000
    """Last steps of experience that are learned from. Each is kept with its features before and
    after it, so that wide tokens fill the memory and the states to resume from."""

    demonstration_share: Annotated[float, Bounds(0, 0.9)] = 0.5
    """Share of each batch that is drawn from the demonstrations (RLPD)."""

    first_steps: NonNegativeInt = 1_000
    """Steps of random actions before learning begins."""

    gradient_steps: PositiveInt = 4
    """Gradient steps after each step of all environments."""

    target_rate: Annotated[float, Bounds(1e-6, 1)] = 0.005
    """Share of the critic that its slow copy takes over at each gradient step."""

    initial_entropy_weight: Annotated[float, Bounds(1e-6, 10)] = 0.002
    """Weight of the entropy at the start; it is learned."""

    critic_hidden: list[int] | None = None
    """Units of the critics' hidden layers; null for those of the actor."""

    def __post_init__(self) -> None:
        if self.critic_hidden is not None and min(self.critic_hidden, default=0) < 1:
            raise ConfigurationError(
                "Expected algorithm.critic_hidden to list at least one positive width, got "
                f"{self.critic_hidden}."
            )

    def check_start(self, start: StartKind, policy: "PolicyChoice") -> None:
        """See :class:`~egodtm_robot.learning.reinforcement.algorithm.Algorithm`."""
        if start == "clone":
            raise ConfigurationError(
                "Expected start=residual or start=scratch with algorithm=sac, got start=clone: "
                "SAC's critics know nothing of a clone and would undo it. With start=residual the "
                "clone is kept."
            )

    def make(self, environment: "VecEnv", start: "Start", seed: int, device: str) -> "SAC":
        """See :class:`~egodtm_robot.learning.reinforcement.algorithm.Algorithm`."""
        from stable_baselines3 import SAC
        from stable_baselines3.sac.policies import MultiInputPolicy

        from egodtm_robot.learning.reinforcement.demonstration_replay import (
            DemonstrationReplayBuffer,
        )
        from egodtm_robot.learning.reinforcement.features_extractor import TokenFeatures
        from policies.mlp import ACTIVATIONS

        hidden = start.trunk.config.hidden
        return SAC(
            MultiInputPolicy,
            environment,
            learning_rate=self.learning_rate,
            buffer_size=self.buffer_steps,
            learning_starts=self.first_steps,
            batch_size=self.batch_size,
            tau=self.target_rate,
            gamma=self.discount,
            gradient_steps=self.gradient_steps,
            ent_coef=f"auto_{self.initial_entropy_weight}",
            replay_buffer_class=DemonstrationReplayBuffer,
            replay_buffer_kwargs={
                "demonstrations": start.demonstrations,
                "share": self.demonstration_share,
            },
            policy_kwargs={
                "features_extractor_class": TokenFeatures,
                "features_extractor_kwargs": {"trunk": start.trunk},
                "net_arch": {"pi": hidden, "qf": self.critic_hidden or hidden},
                "activation_fn": ACTIVATIONS[start.trunk.config.activation],
            },
            seed=seed,
            device=device,
        )
