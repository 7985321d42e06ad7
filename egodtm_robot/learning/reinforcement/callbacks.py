"""Callbacks of Stable-Baselines3 that a configuration names."""

from collections.abc import Mapping, Sequence
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from egodtm_robot.core.configuration.instantiation import import_target, plain
from egodtm_robot.core.errors import ConfigurationError


def make_callbacks(configs: Sequence[Mapping[str, Any]]) -> list[BaseCallback]:
    """Callbacks, in the order in which they are called.

    Args:
        configs: of each, its import path as ``_target_``, and the arguments of its constructor.

    Raises:
        ConfigurationError: there is no such callback, or it does not take the arguments.
    """
    made = []
    for config in configs:
        options = plain(config)
        path = str(options.pop("_target_", None))
        found = import_target("callbacks", path, base=BaseCallback)
        try:
            made.append(found(**options))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"Expected options of {path} under callbacks, got {options}: {error}."
            ) from error
    return made
