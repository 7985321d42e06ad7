"""``env=recorded``: a robot that is known by its recordings alone.

Learning from demonstrations needs no simulator, only evaluating what was learned does. This member
of the ``env`` group says that there is none: ``train_bc`` then takes images, sizes and names from
the store, and every other command refuses with :class:`NoSimulatorError`.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

from egodtm_robot.core.errors import ConfigurationError, EgoDTMRobotError
from envs.contract import RobotEnvironment
from envs.options import EnvironmentConfig


class NoSimulatorError(EgoDTMRobotError, NotImplementedError):
    """Something was to be simulated or drawn of a robot that is known by its recordings alone."""


@dataclass
class RecordedConfig(EnvironmentConfig):
    """A recorded robot; ``env=recorded`` fills it from ``configs/env/recorded.yaml``."""

    task: str = "demonstrations"
    """Always ``demonstrations``."""

    cameras: list[Any] = field(default_factory=list)
    """Names of the store's cameras that are seen; none names all that it has images of."""

    _target_: str = "envs.recorded.RecordedEnvironment"
    """Import path of the environment's class."""

    def __post_init__(self) -> None:
        """Refuse what only a simulator could do.

        Raises:
            ConfigurationError: a camera is described and not named, or an option of drawing or
                of episodes is set.
        """
        described = [camera for camera in self.cameras if not isinstance(camera, str)]
        if described or len(set(self.cameras)) < len(self.cameras):
            raise ConfigurationError(
                "Expected env.cameras to name cameras of the store, each once, got "
                f"{self.cameras}; env=recorded has no simulator that could draw another."
            )
        usual = {"resolution": 112, "quality": "fast", "horizon": None}
        changed = [f"env.{name}" for name, value in usual.items() if getattr(self, name) != value]
        if changed:
            raise ConfigurationError(
                f"Expected no {' and no '.join(changed)} with env=recorded: images and episodes "
                "are as they were recorded."
            )

    @property
    def name(self) -> str:
        """``recorded``, as in ``env=``."""
        return "recorded"

    @property
    def camera_names(self) -> tuple[str, ...]:
        """The cameras asked for; empty for all of the store."""
        return tuple(self.cameras)


class RecordedEnvironment(RobotEnvironment):
    """No environment: whoever tries to make one is told so.

    Raises:
        NoSimulatorError: always.
    """

    kind: ClassVar[str] = "recorded"
    tasks: ClassVar[tuple[str, ...]] = ("demonstrations",)
    config_class: ClassVar[type[EnvironmentConfig]] = RecordedConfig
    license: ClassVar[str] = ""

    def __new__(cls, *_: object, **__: object) -> NoReturn:
        """Refuse, before the missing methods are noticed."""
        raise NoSimulatorError(
            "Expected an environment that can be simulated, got env=recorded, which stands for "
            "the recordings of a robot. Only train_bc takes it; name another env."
        )
