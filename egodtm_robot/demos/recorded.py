"""The environment that demonstrations were recorded in."""

from dataclasses import fields
from typing import Any

from egodtm_robot.demos.attributes import DemonstrationAttributes
from envs.contract import import_environment
from envs.options import EnvironmentConfig
from envs.registry import read_environment, target_of


def recorded_environment(
    attributes: DemonstrationAttributes, drawing: EnvironmentConfig
) -> EnvironmentConfig:
    """The environment and presets that demonstrations were recorded in.

    Args:
        attributes: of their store.
        drawing: gives cameras, resolution and quality; its class, if it is of the store's kind.

    Raises:
        UnknownNameError: the store's kind is not known here, or its environment has no camera of a
            name.
    """
    kind = attributes.environment_kind
    options: dict[str, Any] = {
        "task": attributes.task,
        "randomization": attributes.randomization,
        "visual": attributes.visual,
        "cameras": drawing.cameras,
        "resolution": drawing.resolution,
        "quality": drawing.quality,
        "horizon": attributes.horizon,
    }
    same = drawing.environment_class.kind == kind
    target = drawing._target_ if same else target_of(kind)
    known = {field.name for field in fields(import_environment(target).config_class)}
    return read_environment(
        {"_target_": target} | {key: value for key, value in options.items() if key in known}
    )
