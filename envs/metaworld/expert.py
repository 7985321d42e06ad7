"""Meta-World's scripted policies as demonstrators."""

import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from envs.metaworld.sawyer import import_metaworld

if TYPE_CHECKING:
    from envs.metaworld.env import MetaWorldEnv


class ScriptedExpert:
    """Acts by the package's own policy for the task, which sees the present state alone.

    Args:
        env: the environment to act in; it is only read.
    """

    def __init__(self, env: "MetaWorldEnv") -> None:
        self._env = env
        self._policy = import_metaworld().policies.ENV_POLICY_MAP[env.task.environment]()

    @property
    def version(self) -> str:
        """The package's version: it is the package that acts."""
        return f"metaworld-{version('metaworld')}"

    def reset(self) -> None:
        """Begins an episode. The policies remember nothing, so there is nothing to do."""

    def act(self) -> np.ndarray:
        """The action for the present state, float64 (4,) in [-1, 1]."""
        with warnings.catch_warnings():
            # Their gains overshoot on purpose and are clipped, which they warn of at each step.
            warnings.filterwarnings("ignore", message=r"Constant\(s\) may be too high")
            action = self._policy.get_action(self._env.sawyer_observation())
        return np.clip(np.asarray(action, np.float64), -1.0, 1.0)
