"""The environment that demonstrations were recorded in, and how they are drawn again."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

from egodtm_robot.core.configuration import Bounds
from egodtm_robot.demos.attributes import DemonstrationAttributes
from envs.contract import import_environment
from envs.options import EnvironmentConfig, Quality
from envs.recorded import NoSimulatorError
from envs.registry import read_environment, target_of


@dataclass
class DrawingConfig:
    """How stored demonstrations are drawn again. Their environment is the one of the store."""

    cameras: list[Any] | None = None
    """Names of the environment's cameras or free cameras, such as ``{name: high, position:
    [0, -1, 3], look_at: [0, 0.4, 1.8], fovy: 45}``; null takes those that the store was collected
    with."""

    resolution: Annotated[int, Bounds(16, 1024)] = 112
    """Height and width of an image, pixels."""

    quality: Quality = "fast"
    """Drawing preset: fast or full."""

    _target_: str | None = None
    """Import path of the environment's class, if it is one of your own; null where the store says
    enough."""


def drawn_environment(
    attributes: DemonstrationAttributes, drawing: DrawingConfig
) -> EnvironmentConfig:
    """The environment and presets that demonstrations were recorded in, with images as asked for.

    Args:
        attributes: of their store.
        drawing: how to draw.

    Raises:
        NoSimulatorError: the demonstrations are another toolkit's.
        UnknownNameError: the store's kind is not known here, or its environment has no camera of a
            name.
    """
    kind = attributes.environment_kind
    if attributes.origin is not None:
        raise NoSimulatorError(
            f"Expected demonstrations with simulator states, which can be drawn again, got those "
            f"of {attributes.environment}, which come from {attributes.origin.format}. Their "
            f"images are the recorded ones ({', '.join(attributes.cameras) or 'none'}): learn from "
            "them with env=recorded, or convert the data set again if it has further cameras."
        )
    target = drawing._target_ or target_of(kind)
    environment = import_environment(target)
    cameras = drawing.cameras
    if cameras is None:
        cameras = [name for name in attributes.cameras if name in environment.own_cameras]
    options: dict[str, Any] = {
        "task": attributes.task,
        "randomization": attributes.randomization,
        "visual": attributes.visual,
        "cameras": cameras,
        "resolution": drawing.resolution,
        "quality": drawing.quality,
        "horizon": attributes.horizon,
    }
    known = {field.name for field in fields(environment.config_class)}
    return read_environment(
        {"_target_": target} | {key: value for key, value in options.items() if key in known}
    )


def recorded_environment(
    attributes: DemonstrationAttributes, drawing: EnvironmentConfig
) -> EnvironmentConfig:
    """As :func:`drawn_environment`, with the images of another environment's configuration.

    Args:
        attributes: of the store.
        drawing: gives cameras, resolution and quality; its class, if it is of the store's kind.
    """
    same = drawing.environment_class.kind == attributes.environment_kind
    return drawn_environment(
        attributes,
        DrawingConfig(
            cameras=drawing.cameras,
            resolution=drawing.resolution,
            quality=drawing.quality,
            _target_=drawing._target_ if same else None,
        ),
    )
