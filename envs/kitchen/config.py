"""The options of the kitchens, ours and RoboHive's."""

from dataclasses import asdict, dataclass, field
from typing import Any

from egodtm_robot.core.fingerprints import hash_parts
from envs.kitchen.randomization import get_randomization
from envs.kitchen.tasks import get_task
from envs.kitchen.visuals import get_visual_preset
from envs.options import EnvironmentConfig


@dataclass
class KitchenConfig(EnvironmentConfig):
    """One task in one kitchen; ``env=franka_kitchen_<task>`` fills it from ``configs/env/``."""

    task: str = "microwave"
    """One of :data:`envs.kitchen.tasks.KITCHEN_TASKS`."""

    cameras: list[Any] = field(default_factory=lambda: ["wrist"])
    """Names (left, right, top, wrist, wrist_fk1, left_cap2, right_cap2) or free cameras, such as
    ``{name: high, position: [0, -1, 3], look_at: [0, 0.4, 1.8], fovy: 45}``. The wrist's view
    tells encoders apart best (docs/results/protocols.md); FK1's are left, right, top and
    wrist_fk1, R3M's left_cap2 and right_cap2."""

    randomization: str = "default"
    """Reset preset: default, fk1, r3m, fk1_v4 or r3m_v005."""

    visual: str | None = None
    """Appearance preset: fixed, varied or shifted; null takes the protocol's, and fixed where no
    protocol is in use."""

    _target_: str = "envs.kitchen.env.KitchenEnv"
    """Import path of the environment's class."""

    def __post_init__(self) -> None:
        """Refuse what the types let through before a simulator is built.

        Raises:
            UnknownNameError: the task, a preset or a camera is unknown.
            CameraError: see :class:`EnvironmentConfig`.
            ConfigurationError: see :class:`EnvironmentConfig`.
        """
        if self.visual is None:
            self.visual = "fixed"
        get_randomization(self.randomization)
        get_visual_preset(self.visual)
        super().__post_init__()

    @property
    def folder(self) -> str:
        """The task's name, in other scenes than the first the whole name."""
        return self.task if self.name == f"franka_kitchen_{self.task}" else self.name

    @property
    def presets(self) -> dict[str, str]:
        """The reset preset and the look."""
        return {"randomization": self.randomization, "visual": str(self.visual)}

    @property
    def preset_hashes(self) -> dict[str, str]:
        """Of where the resets draw positions and joints, and of the ranges of the look."""
        resets = get_randomization(self.randomization)
        center = get_task(self.task).base_center if resets.about_task_center else None
        look = get_visual_preset(str(self.visual))
        return {
            "randomization": hash_parts(resets.settings(), center),
            "visual": hash_parts(asdict(look)),
        }
