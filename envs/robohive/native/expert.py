"""The scripted experts of our kitchens as demonstrators of RoboHive's own."""

import numpy as np

from envs.kitchen.experts import make_expert
from envs.robohive.env import RoboHiveKitchenEnv
from envs.robohive.native.env import RoboHiveFK1Env
from envs.robohive.native.mirror import KitchenMirror


class MirroredExpert:
    """Sees RoboHive's kitchen mirrored into our scene of it, and acts as if it stood there.

    Args:
        env: the environment to act in; it is only read.
    """

    def __init__(self, env: RoboHiveFK1Env) -> None:
        ours = RoboHiveKitchenEnv(env.task.expert, randomization="fk1", cameras=())
        ours.reset(seed=0)
        self._mirror = KitchenMirror(env, ours)
        self._expert = make_expert(ours)

    @property
    def version(self) -> str:
        """The expert's own."""
        return self._expert.version

    def reset(self) -> None:
        """Begins an episode; the experts remember nothing."""
        self._expert.reset()

    def act(self) -> np.ndarray:
        """The action for the present state, float64 (9,) in [-1, 1]."""
        self._mirror.update()
        return self._expert.act()
