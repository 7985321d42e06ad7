"""From an actor of Stable-Baselines3 to a policy of this package that acts as it does."""

import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from egodtm_robot.learning.reinforcement.features_extractor import TokenFeatures
from policies.actor import ActorPolicy, ActorPolicyConfig, base_record
from policies.base import Policy


def learned_policy(actor: BasePolicy, base: Policy | None, scale: np.ndarray) -> ActorPolicy | None:
    """The policy that gives an actor's mean action.

    Args:
        actor: the policy of a model that read observations by
            :class:`~egodtm_robot.learning.reinforcement.features_extractor.TokenFeatures`.
        base: the frozen policy that it corrects; None for none.
        scale: (A,), the largest correction.

    Returns:
        The policy, with weights of its own; None for an actor that is neither PPO's nor SAC's, as
        an algorithm of a user's own may have.
    """
    parts = _parts(actor)
    if parts is None:
        return None
    extractor, layers, squashed = parts
    trunk = extractor.trunk
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    config = ActorPolicyConfig(
        trunk=trunk.config,
        hidden=[layer.out_features for layer in linear[:-1]],
        squashed=squashed,
        base={} if base is None else base_record(base),
    )
    policy = ActorPolicy(config, trunk.spec)
    policy.trunk.load_state_dict(trunk.state_dict())
    if base is not None:
        assert policy.base is not None
        weights = base.state_dict()
        policy.base.resize_buffers({name: tuple(one.shape) for name, one in weights.items()})
        policy.base.load_state_dict(weights)
    own = [layer for layer in policy.head if isinstance(layer, nn.Linear)]
    for mine, theirs in zip(own, linear, strict=True):
        mine.load_state_dict(theirs.state_dict())
    policy.scale.copy_(torch.from_numpy(scale))
    return policy.to(actor.device).eval()


def _parts(actor: BasePolicy) -> tuple[TokenFeatures, list[nn.Module], bool] | None:
    """The extractor, the layers and whether a hyperbolic tangent limits what they give."""
    if isinstance(actor, ActorCriticPolicy) and not actor.squash_output:
        extractor: nn.Module = actor.pi_features_extractor
        layers = [*actor.mlp_extractor.policy_net, actor.action_net]
        squashed = False
    elif isinstance(actor, SACPolicy):
        extractor = actor.actor.features_extractor
        layers = [*actor.actor.latent_pi, actor.actor.mu]
        squashed = True
    else:
        return None
    return (extractor, layers, squashed) if isinstance(extractor, TokenFeatures) else None
