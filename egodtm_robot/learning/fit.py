"""Whether encoder, policy and environment fit one another, asked before hours are spent on them."""

import numpy as np
import torch

from egodtm_robot.encoders.base import Encoder
from egodtm_robot.encoders.features import FeaturePipeline, check_cameras, reduced_dimension
from envs.contract import EnvironmentDescription
from envs.options import EnvironmentConfig
from policies.registry import PolicyChoice
from policies.spec import FeatureShape, PolicySpec


def check_fit(
    choice: PolicyChoice,
    encoder: Encoder,
    env: EnvironmentConfig,
    environment: EnvironmentDescription,
) -> None:
    """Encode one empty picture and make the policy once, for the shapes that it will get.

    A policy that pools tokens from a grid does not fit an encoder without one, an encoder may
    declare other tokens than it gives, and pictures may be too small for it. Without this the
    demonstrations would be collected and embedded before it shows.

    Args:
        choice: the policy.
        encoder: on its device; it knows the length of the environment's states.
        env: with the cameras that are to be seen, and the size of their pictures.
        environment: what it says of itself.

    Raises:
        EgoDTMRobotError: something does not fit.
    """
    check_cameras(encoder, env.camera_names)
    if encoder.source == "rgb":
        side = env.resolution
        encoder.encode(np.zeros((1, encoder.history, side, side, 3), np.uint8))
    shape = FeatureShape(encoder.num_tokens, reduced_dimension(encoder), encoder.grid)
    spec = PolicySpec(
        proprioception=environment.proprioception_size,
        actions=environment.action_size,
        features=dict.fromkeys(FeaturePipeline(encoder).streams(env.camera_names), shape),
    )
    choice.make(spec, torch.Generator().manual_seed(0))
