"""The ``env`` group of the configuration and the environment it names."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from egodtm_robot.core.errors import ConfigurationError
from envs.kitchen.cameras import Camera, resolve_cameras
from envs.kitchen.env import KitchenEnv
from envs.kitchen.randomization import get_randomization
from envs.kitchen.tasks import get_task


@dataclass
class EnvironmentConfig:
    """One environment; ``env=franka_kitchen_<task>`` fills it from ``configs/env/``."""

    task: str = "microwave"
    """One of the kitchen's tasks."""

    randomization: str = "default"
    """Reset preset: default, fk1 or r3m."""

    visual: str = "fixed"
    """Appearance preset: fixed, varied or shifted."""

    cameras: list[Any] = field(default_factory=lambda: ["left"])
    """Names (left, right, top, wrist) or free cameras, such as
    ``{name: high, position: [0, -1, 3], quaternion: [0.92, 0.38, 0, 0], fovy: 45, body: ""}``."""

    resolution: int = 112
    """Height and width of an image, pixels."""

    quality: str = "fast"
    """Drawing preset: fast or full."""

    horizon: int | None = None
    """Steps of an episode of 0.08 s each; null takes what the task and the preset say."""

    def __post_init__(self) -> None:
        """Refuse what the types let through before a simulator is built.

        Raises:
            UnknownNameError: the task, the reset preset or a camera is unknown.
            ConfigurationError: a number is out of range or a free camera lacks something.
        """
        get_task(self.task)
        get_randomization(self.randomization)
        names = [camera.name for camera in make_cameras(self.cameras)]
        if len(set(names)) < len(names):
            raise ConfigurationError(f"env.cameras names a camera twice: {', '.join(names)}.")
        if not 16 <= self.resolution <= 1024:
            raise ConfigurationError(
                f"Expected env.resolution from 16 to 1024 pixels, got {self.resolution}."
            )
        if self.horizon is not None and self.horizon < 1:
            raise ConfigurationError(f"Expected env.horizon of 1 or more, got {self.horizon}.")

    @property
    def name(self) -> str:
        """As in ``env=``, for example ``franka_kitchen_microwave``."""
        return f"franka_kitchen_{self.task}"


def make_cameras(cameras: Sequence[str | Mapping[str, Any]]) -> tuple[Camera, ...]:
    """The cameras of a configuration.

    Args:
        cameras: names of the kitchen's cameras and mappings with the fields of :class:`Camera`.

    Raises:
        UnknownNameError: a name is not one of the kitchen's cameras.
        ConfigurationError: a mapping lacks a field, has one too many, or a value does not fit.
    """
    return resolve_cameras(
        [_free_camera(camera) if isinstance(camera, Mapping) else camera for camera in cameras]
    )


def describe_camera(camera: Camera) -> dict[str, Any]:
    """The mapping from which :func:`make_cameras` builds an equal camera."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(camera).items()
    }


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
    return KitchenEnv(
        task=config.task,
        randomization=config.randomization,
        visual=config.visual,
        cameras=make_cameras(config.cameras),
        resolution=config.resolution,
        quality=config.quality,
        modalities=tuple(modalities),
        horizon=config.horizon,
        render_mode=render_mode,
    )


def _free_camera(fields: Mapping[str, Any]) -> Camera:
    expected = (
        "Expected a free camera to have name, position (3 numbers), quaternion (4 numbers) and, "
        "if wanted, fovy (degrees) and body"
    )
    required, optional = {"name", "position", "quaternion"}, {"fovy", "body"}
    if not required <= set(fields) <= required | optional:
        raise ConfigurationError(f"{expected}; got {', '.join(map(str, fields))}.")
    try:
        position = tuple(float(value) for value in fields["position"])
        quaternion = tuple(float(value) for value in fields["quaternion"])
        fovy = float(fields.get("fovy", 45.0))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{expected}; got {dict(fields)}.") from error
    if len(position) != 3 or len(quaternion) != 4 or not any(quaternion) or not 0 < fovy < 180:
        raise ConfigurationError(f"{expected}; got {dict(fields)}.")
    x, y, z = position
    qw, qx, qy, qz = quaternion
    return Camera(
        name=str(fields["name"]),
        position=(x, y, z),
        quaternion=(qw, qx, qy, qz),
        fovy=fovy,
        body=str(fields.get("body") or ""),
    )
