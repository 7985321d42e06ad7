"""What a step is worth: success, and progress towards it."""

import math
from dataclasses import dataclass

import numpy as np

from egodtm_robot.core.errors import ConfigurationError


@dataclass
class RewardConfig:
    """The reward of a step: the ``reward`` part of the configuration."""

    success: float = 1.0
    """Paid once an episode, at the step with which it becomes a success."""

    progress: float = 1.0
    """Weight of the shaping by the environment's progress: each step is paid ``discount`` times the
    progress after it, less the progress before it. Shaping by such a difference leaves open which
    policies are best (Ng et al., Policy Invariance Under Reward Transformations, 1999). 0 leaves
    the sparse reward alone."""

    def __post_init__(self) -> None:
        for name in ("success", "progress"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigurationError(f"Expected a finite reward.{name} >= 0, got {value}.")
        if self.success == 0 and self.progress == 0:
            raise ConfigurationError(
                "Expected reward.success or reward.progress above 0, got 0 for both: nothing would "
                "be learned."
            )


def step_rewards(
    config: RewardConfig,
    discount: float,
    progress_before: np.ndarray,
    progress_after: np.ndarray,
    succeeded: np.ndarray,
) -> np.ndarray:
    """The rewards of B steps.

    The success that ends an episode keeps its progress of 1: it is a reward that is larger by the
    weight of the progress, and prefers no other policy.

    Args:
        config: weights.
        discount: of the algorithm, in [0, 1].
        progress_before: (B,) in [0, 1], before the step.
        progress_after: (B,) in [0, 1], after it.
        succeeded: bool (B,), whether the episode became a success with this step.

    Returns:
        float32 (B,).
    """
    shaping = discount * np.asarray(progress_after) - np.asarray(progress_before)
    rewards = config.success * np.asarray(succeeded, dtype=np.float64) + config.progress * shaping
    return rewards.astype(np.float32)
