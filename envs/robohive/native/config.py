"""The options of RoboHive's own FK1 environments."""

from dataclasses import dataclass, field
from typing import Any

from envs.options import EnvironmentConfig
from envs.robohive.native.tasks import Variant


@dataclass
class FK1Config(EnvironmentConfig):
    """One FK1 task of RoboHive; ``env=robohive_fk1_<task>`` fills it from ``configs/env/``."""

    task: str = "microwave"
    """One of :data:`envs.robohive.native.tasks.FK1_TASKS`."""

    variant: Variant = "random"
    """RoboHive's variant of the task: random or fixed resets."""

    cameras: list[Any] = field(default_factory=lambda: ["wrist"])
    """Names (left_cam, right_cam, top_cam, Franka_wrist_cam, wrist) or free cameras. ``wrist`` is
    the other kitchens' and not RoboHive's."""

    _target_: str = "envs.robohive.native.env.RoboHiveFK1Env"
    """Import path of the environment's class."""

    @property
    def presets(self) -> dict[str, str]:
        """The variant stands for the reset preset."""
        return {"randomization": f"robohive_{self.variant}", "visual": "fixed"}
