"""PPO: the choice ``algorithm=ppo``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from egodtm_robot.core.configuration import Bounds, NonNegativeInt, PositiveInt
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.learning.reinforcement.algorithm import Algorithm

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from egodtm_robot.learning.reinforcement.anchored_ppo import AnchoredPPO
    from egodtm_robot.learning.reinforcement.start import Start


@dataclass
class PPOAlgorithm(Algorithm):
    """Proximal policy optimization, Schulman et al. 2017, by Stable-Baselines3."""

    kind: ClassVar[str] = "ppo"

    rollout_steps: PositiveInt = 256
    """Steps of each environment between two updates."""

    epochs: PositiveInt = 10
    """Passes over the steps of an update."""

    gae_lambda: Annotated[float, Bounds(0, 1)] = 0.95
    """Between the critic's word (0) and the rewards that were met (1) in advantages."""

    clip_range: Annotated[float, Bounds(1e-3, 10)] = 0.2
    """How far an update changes the probability of an action."""

    entropy_weight: Annotated[float, Bounds(0)] = 0.0
    """Weight of the entropy bonus."""

    target_kl: Annotated[float, Bounds(1e-6)] | None = 0.03
    """Divergence from the actor before the update at which its epochs end; null for no limit."""

    initial_std: Annotated[float, Bounds(1e-3, 10)] = 0.3
    """Deviation of exploring actions at the start: in deviations of the demonstrated actions; with
    ``start=residual`` in shares of the largest correction."""

    critic_steps: NonNegativeInt = 10_000
    """Steps in which the critic learns alone, before the actor moves; not used by
    ``start=scratch``."""

    cloning_weight: Annotated[float, Bounds(0)] = 0.1
    """Weight at the start of the loss that holds the actor near the demonstrations."""

    cloning_share: Annotated[float, Bounds(0, 1)] = 0.5
    """Share of the steps over which that weight fades to 0."""

    critic_hidden: list[int] | None = None
    """Units of the critic's hidden layers; null for those of the actor."""

    def __post_init__(self) -> None:
        if self.critic_hidden is not None and min(self.critic_hidden, default=0) < 1:
            raise ConfigurationError(
                "Expected algorithm.critic_hidden to list at least one positive width, got "
                f"{self.critic_hidden}."
            )

    def make(self, environment: "VecEnv", start: "Start", seed: int, device: str) -> "AnchoredPPO":
        """See :class:`~egodtm_robot.learning.reinforcement.algorithm.Algorithm`."""
        import torch
        from stable_baselines3.common.policies import MultiInputActorCriticPolicy

        from egodtm_robot.learning.reinforcement.actor import act_as_the_clone, set_deviation
        from egodtm_robot.learning.reinforcement.anchored_ppo import Anchor, AnchoredPPO
        from egodtm_robot.learning.reinforcement.features_extractor import TokenFeatures
        from policies.mlp import ACTIVATIONS

        hidden = start.trunk.config.hidden
        settings: dict[str, Any] = {
            "features_extractor_class": TokenFeatures,
            "features_extractor_kwargs": {"trunk": start.trunk},
            # The critic must not move what a cloned actor sees by.
            "share_features_extractor": False,
            "net_arch": {"pi": hidden, "vf": self.critic_hidden or hidden},
            "activation_fn": ACTIVATIONS[start.trunk.config.activation],
        }
        model = AnchoredPPO(
            MultiInputActorCriticPolicy,
            environment,
            learning_rate=self.learning_rate,
            n_steps=self.rollout_steps,
            batch_size=self.batch_size,
            n_epochs=self.epochs,
            gamma=self.discount,
            gae_lambda=self.gae_lambda,
            clip_range=self.clip_range,
            ent_coef=self.entropy_weight,
            target_kl=self.target_kl,
            policy_kwargs=settings,
            seed=seed,
            device=device,
        )
        unit = torch.from_numpy(start.action_unit)
        set_deviation(model.policy, self.initial_std * unit)
        if start.kind == "clone":
            act_as_the_clone(model.policy, start.trunk)
        model.anchor = Anchor(
            start.demonstrations,
            unit,
            self.cloning_weight,
            self.cloning_share * self.steps,
            0 if start.kind == "scratch" else self.critic_steps,
            model.device,
        )
        return model
