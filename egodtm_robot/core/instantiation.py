"""Objects from configuration files that name their class by its import path (``_target_``).

There are no tables of encoders, sources or annotators: a file in ``configs/<group>`` names the
class, so a new one is a module and a file, and a user's own is an import path.
"""

import importlib
import inspect
import typing
from collections.abc import Mapping
from importlib import resources
from typing import Any

from omegaconf import OmegaConf

from egodtm_robot.core.configuration.schema import check_value
from egodtm_robot.core.errors import ConfigurationError, EgoDTMRobotError, UnknownNameError

MISSING = "???"
"""OmegaConf's mark of a value that the user has to give."""


def group_names(group: str) -> tuple[str, ...]:
    """Names that have a file in ``configs/<group>``."""
    folder = resources.files("configs") / group
    return tuple(
        sorted(
            entry.name.removesuffix(".yaml")
            for entry in folder.iterdir()
            if entry.name.endswith(".yaml")
        )
    )


def group_config(group: str, name: str) -> dict[str, Any]:
    """The options that ``configs/<group>/<name>.yaml`` holds.

    Raises:
        UnknownNameError: there is no such file.
    """
    if name not in group_names(group):
        raise UnknownNameError(group, name, group_names(group))
    text = (resources.files("configs") / group / f"{name}.yaml").read_text(encoding="utf-8")
    return plain(OmegaConf.create(text))


def plain(config: Any) -> dict[str, Any]:
    """A mapping of lists, dictionaries and numbers instead of OmegaConf's containers."""
    if not OmegaConf.is_config(config):
        config = OmegaConf.create(dict(config))
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def import_target(group: str, path: str, error: type[EgoDTMRobotError] = ConfigurationError) -> Any:
    """What ``<group>._target_`` names.

    Args:
        group: of configuration.
        path: package.module.Class.
        error: raised where the path leads to nothing that can be called.
    """
    module_name, _, class_name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, TypeError, ValueError) as reason:
        raise error(
            f"Expected {group}._target_ to be an import path (package.module.Class), got "
            f"{path!r}: {reason}. The module must be installed or lie in a folder of PYTHONPATH."
        ) from reason
    if not callable(found):
        raise error(f"Expected {group}._target_ to name a class, got {path!r}, which is {found!r}.")
    return found


def check_options(
    group: str,
    target: Any,
    options: Mapping[str, Any],
    error: type[EgoDTMRobotError] = ConfigurationError,
) -> None:
    """Refuse options that a class does not take, and the lack of those that it needs.

    Args:
        group: of configuration.
        target: class, or function that makes the object.
        options: what it would be called with.
        error: raised where an option is missing.

    Raises:
        UnknownNameError: no such option.
    """
    parameters = dict(inspect.signature(target).parameters)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for option in options:
        if option not in parameters:
            raise UnknownNameError(f"option of {target.__name__}", option, tuple(parameters))
    missing = [
        option
        for option, parameter in parameters.items()
        if options.get(option) == MISSING
        or (
            parameter.default is inspect.Parameter.empty
            and parameter.kind is not inspect.Parameter.VAR_POSITIONAL
            and options.get(option) is None
        )
    ]
    if missing:
        listed = ", ".join(f"{group}.{option}=..." for option in missing)
        raise error(f"{target.__name__} needs {listed}.")
    _check_types(group, target, parameters, options)


def _check_types(
    group: str,
    target: Any,
    parameters: Mapping[str, inspect.Parameter],
    options: Mapping[str, Any],
) -> None:
    """Refuse options of the wrong type, as far as the arguments have types that OmegaConf knows.

    Raises:
        ConfigurationError: a value has the wrong type.
        UnknownNameError: a value is none of the choices of a ``Literal``.
    """
    maker = target.__init__ if inspect.isclass(target) else target
    try:
        hints = typing.get_type_hints(maker, include_extras=True)
    except (NameError, TypeError):
        return  # a user's own class may have annotations that mean nothing at run time
    for option, value in options.items():
        if option in hints and option in parameters:
            check_value(f"{group}.{option}", hints[option], value)
