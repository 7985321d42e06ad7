"""The ``env`` group of the configuration and the environment it names."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from egodtm_robot.demos import DemonstrationAttributes
from envs.kitchen.cameras import Camera, resolve_cameras
from envs.kitchen.env import KitchenEnv
from envs.kitchen.randomization import get_randomization
from envs.kitchen.tasks import get_task
from envs.robohive.env import RoboHiveKitchenEnv

SCENES: dict[str, type[KitchenEnv]] = {
    "franka_kitchen": KitchenEnv,
    "robohive_kitchen": RoboHiveKitchenEnv,
}
"""Environments by the first part of ``env=<scene>_<task>``."""


@dataclass
class EnvironmentConfig:
    """One environment; ``env=franka_kitchen_<task>`` fills it from ``configs/env/``."""

    scene: str = "franka_kitchen"
    """Whose kitchen: franka_kitchen, or robohive_kitchen from the assets that the environment
    variable ``ROBOHIVE_SIMHIVE`` names."""

    task: str = "microwave"
    """One of the kitchen's tasks."""

    randomization: str = "default"
    """Reset preset: default, fk1 or r3m."""

    visual: str = "fixed"
    """Appearance preset: fixed, varied or shifted."""

    cameras: list[Any] = field(default_factory=lambda: ["wrist"])
    """Names (left, right, top, wrist) or free cameras, such as
    ``{name: high, position: [0, -1, 3], look_at: [0, 0.4, 1.8], fovy: 45}``. The wrist's view
    tells encoders apart best (docs/results/protocols.md); R3M's and FK1's are left, right and
    top."""

    resolution: int = 112
    """Height and width of an image, pixels."""

    quality: str = "fast"
    """Drawing preset: fast or full."""

    horizon: int | None = None
    """Steps of an episode of 0.08 s each; null takes what the task and the preset say."""

    def __post_init__(self) -> None:
        """Refuse what the types let through before a simulator is built.

        Raises:
            UnknownNameError: the scene, the task, the reset preset or a camera is unknown.
            CameraError: a free camera is incomplete, or two cameras share a name.
            ConfigurationError: a number is out of range.
        """
        if self.scene not in SCENES:
            raise UnknownNameError("scene", self.scene, tuple(SCENES))
        get_task(self.task)
        get_randomization(self.randomization)
        resolve_cameras(self.cameras)
        if not 16 <= self.resolution <= 1024:
            raise ConfigurationError(
                f"Expected env.resolution from 16 to 1024 pixels, got {self.resolution}."
            )
        if self.horizon is not None and self.horizon < 1:
            raise ConfigurationError(f"Expected env.horizon of 1 or more, got {self.horizon}.")

    @property
    def name(self) -> str:
        """As in ``env=``, for example ``franka_kitchen_microwave``."""
        return f"{self.scene}_{self.task}"

    @property
    def folder(self) -> str:
        """The task's name, in other scenes than the first the whole name: for default paths."""
        return self.task if self.scene == "franka_kitchen" else self.name


def camera_poses(cameras: Iterable[Camera]) -> dict[str, dict[str, Any]]:
    """Position, quaternion, fovy and body of each camera by its name, as plain JSON.

    A pose with its name is a description from which an equal camera can be made.
    """
    return {
        camera.name: {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(camera).items()
            if key != "name"
        }
        for camera in cameras
    }


def recorded_scene(
    attributes: DemonstrationAttributes, config: EnvironmentConfig
) -> EnvironmentConfig:
    """The scene, task and presets that demonstrations were recorded in.

    Args:
        attributes: of their store.
        config: cameras, resolution and drawing, which are kept.
    """
    return replace(
        config,
        scene=attributes.environment.removesuffix(f"_{attributes.task}"),
        task=attributes.task,
        randomization=attributes.randomization,
        visual=attributes.visual,
    )


def make_environment(
    config: EnvironmentConfig,
    modalities: Sequence[str] = ("rgb",),
    render_mode: str | None = None,
) -> KitchenEnv:
    """Build the environment that a configuration names.

    Args:
        config: the ``env`` group.
        modalities: which images an observation holds: rgb, depth, segmentation.
        render_mode: as for :class:`KitchenEnv`.
    """
    return SCENES[config.scene](
        task=config.task,
        randomization=config.randomization,
        visual=config.visual,
        cameras=resolve_cameras(config.cameras),
        resolution=config.resolution,
        quality=config.quality,
        modalities=tuple(modalities),
        horizon=config.horizon,
        render_mode=render_mode,
    )
