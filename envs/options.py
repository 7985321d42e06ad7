"""The options that every environment takes, and their check."""

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from egodtm_robot.core.configuration.instantiation import MISSING
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from envs.cameras import Camera, resolve_cameras

if TYPE_CHECKING:
    from envs.contract import RobotEnvironment

Quality = Literal["fast", "full"]
"""Drawing presets, see :mod:`egodtm_robot.core.drawing.offscreen`."""


@dataclass
class EnvironmentConfig:
    """Options of an environment; ``env=<name>`` fills them from ``configs/env/<name>.yaml``.

    An environment with further options derives a dataclass of its own from this one and names it
    as its ``config_class``.
    """

    task: str = MISSING
    """One of the environment's tasks."""

    cameras: list[Any] = field(default_factory=list)
    """Names of the environment's cameras or free cameras, such as
    ``{name: high, position: [0, -1, 3], look_at: [0, 0.4, 1.8], fovy: 45}``."""

    resolution: int = 112
    """Height and width of an image, pixels."""

    quality: Quality = "fast"
    """Drawing preset: fast or full."""

    horizon: int | None = None
    """Control steps of an episode; null takes what the environment says."""

    _target_: str = MISSING
    """Import path of the environment's class."""

    def __post_init__(self) -> None:
        """Refuse what the types let through before a simulator is built.

        Raises:
            UnknownNameError: the environment has no such task or camera.
            CameraError: a free camera is incomplete, or two cameras share a name.
            ConfigurationError: a number is out of range, or ``_target_`` names no environment.
        """
        environment = self.environment_class
        if self.task not in environment.tasks:
            raise UnknownNameError("task", self.task, environment.tasks)
        resolve_cameras(self.cameras, environment.own_cameras)
        if not 16 <= self.resolution <= 1024:
            raise ConfigurationError(
                f"Expected env.resolution from 16 to 1024 pixels, got {self.resolution}."
            )
        if self.horizon is not None and self.horizon < 1:
            raise ConfigurationError(f"Expected env.horizon of 1 or more, got {self.horizon}.")

    @property
    def environment_class(self) -> "type[RobotEnvironment]":
        """The class that ``_target_`` names.

        Raises:
            ConfigurationError: the path leads nowhere, or to something that is no environment.
        """
        from envs.contract import import_environment  # which imports this module

        return import_environment(self._target_)

    @property
    def name(self) -> str:
        """Kind and task, as in ``env=``, for example ``franka_kitchen_microwave``."""
        return f"{self.environment_class.kind}_{self.task}"

    @property
    def folder(self) -> str:
        """How default paths of runs and demonstrations name the environment and its task."""
        return self.name

    @property
    def presets(self) -> dict[str, str]:
        """What the environment would report as its reset preset and its look, by option."""
        return {"randomization": "default", "visual": "fixed"}

    @property
    def preset_hashes(self) -> dict[str, str]:
        """A hash of what each chosen preset draws, by option; empty where there is no choice.

        Presets of the same name with other ranges make other episodes, which must not be compared.
        """
        return {}

    def with_look(self, look: str) -> Self:
        """The same environment, with the same episodes for the same seeds, under another look.

        Args:
            look: a value of the option ``visual``.

        Raises:
            ConfigurationError: the environment has one look only.
            UnknownNameError: it has others, but not this one.
        """
        if "visual" not in {field.name for field in dataclasses.fields(self)}:
            raise ConfigurationError(
                f"Expected an environment with several looks for the look {look!r}, but "
                f"{self.name} has no option visual. Choose another environment, or a protocol "
                "without further_looks, such as protocol=standard."
            )
        changes: dict[str, Any] = {"visual": look}
        return dataclasses.replace(self, **changes)

    @property
    def resolved_cameras(self) -> tuple[Camera, ...]:
        """The cameras with their poses."""
        return resolve_cameras(self.cameras, self.environment_class.own_cameras)

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names of the cameras, in their order."""
        return tuple(camera.name for camera in self.resolved_cameras)
