"""Whether encoder, policy and robot fit one another, asked before hours are spent on them."""

from collections.abc import Mapping

import numpy as np
import torch

from egodtm_robot.encoders.base import Encoder
from egodtm_robot.encoders.features import FeaturePipeline, check_cameras, reduced_dimension
from policies.registry import PolicyChoice
from policies.spec import FeatureShape, PolicySpec


def check_fit(
    choice: PolicyChoice,
    encoder: Encoder,
    cameras: Mapping[str, tuple[int, int]],
    proprioception: int,
    actions: int,
) -> None:
    """Encode one empty picture and make the policy once, for the shapes that it will get.

    A policy that pools tokens from a grid does not fit an encoder without one, an encoder may
    declare other tokens than it gives, and pictures may be too small for it. Without this the
    demonstrations would be collected and embedded before it shows.

    Args:
        choice: the policy.
        encoder: on its device; it knows the length of the environment's states.
        cameras: that are to be seen, with the (height, width) of their pictures.
        proprioception: P, length of the robot's own state.
        actions: A, length of an action.

    Raises:
        EgoDTMRobotError: something does not fit.
    """
    check_cameras(encoder, tuple(cameras))
    if encoder.source == "rgb":
        for size in dict.fromkeys(cameras.values()):
            encoder.encode(np.zeros((1, encoder.history, *size, 3), np.uint8))
    shape = FeatureShape(encoder.num_tokens, reduced_dimension(encoder), encoder.grid)
    spec = PolicySpec(
        proprioception=proprioception,
        actions=actions,
        features=dict.fromkeys(FeaturePipeline(encoder).streams(tuple(cameras)), shape),
    )
    choice.make(spec, torch.Generator().manual_seed(0))
