"""An actor of Stable-Baselines3 that acts as a cloned policy does."""

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from egodtm_robot.learning.reinforcement.features_extractor import TokenFeatures
from policies.mlp import MLPPolicy


@torch.no_grad()
def act_as_the_clone(actor: ActorCriticPolicy, clone: MLPPolicy) -> None:
    """Give an actor the weights of a cloned policy; its mean action is then the clone's.

    The features extractor has the clone's modules already. The hidden layers are copied, and the
    clone's last layer takes in the scale and the mean of its actions.

    Args:
        actor: with hidden layers like the clone's.
        clone: an MLP policy that sees one frame and gives one action.
    """
    *hidden, last = [layer for layer in clone.head if isinstance(layer, nn.Linear)]
    own = [layer for layer in actor.mlp_extractor.policy_net if isinstance(layer, nn.Linear)]
    for mine, theirs in zip(own, hidden, strict=True):
        mine.load_state_dict(theirs.state_dict())
    statistics = clone.action_statistics
    assert isinstance(actor.action_net, nn.Linear)
    actor.action_net.weight.copy_(last.weight * statistics.scale[:, None])
    actor.action_net.bias.copy_(last.bias * statistics.scale + statistics.mean)
    for extractor in (actor.pi_features_extractor, actor.vf_features_extractor):
        # Orthogonal initialization has drawn the layers of poolings and bottlenecks anew.
        trunk = {
            name: one for name, one in clone.state_dict().items() if not name.startswith("head.")
        }
        assert isinstance(extractor, TokenFeatures)
        extractor.trunk.load_state_dict(trunk)


@torch.no_grad()
def set_deviation(actor: ActorCriticPolicy, deviation: Tensor) -> None:
    """Set how far exploring actions deviate from the mean, (A,)."""
    assert isinstance(actor.log_std, nn.Parameter)
    actor.log_std.copy_(deviation.log())
