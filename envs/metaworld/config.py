"""The options of Meta-World's tasks."""

from dataclasses import dataclass, field
from typing import Any

from envs.options import EnvironmentConfig


@dataclass
class MetaWorldConfig(EnvironmentConfig):
    """One task of Meta-World; ``env=metaworld_<task>`` fills it from ``configs/env/``."""

    task: str = "drawer_open"
    """One of :data:`envs.metaworld.tasks.METAWORLD_TASKS`."""

    cameras: list[Any] = field(default_factory=lambda: ["side"])
    """Names (side, topview, corner, corner2, corner3, corner4, behindGripper, gripperPOV) or free
    cameras."""

    _target_: str = "envs.metaworld.env.MetaWorldEnv"
    """Import path of the environment's class."""
