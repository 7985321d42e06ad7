"""Objects from configuration files that name their class by its import path (``_target_``).

There are no tables of encoders, sources or annotators: a file in ``configs/<group>`` names the
class, so a new one is a module and a file, and a user's own is an import path.
"""

import importlib
import inspect
from collections.abc import Mapping
from importlib import resources
from typing import Any

from omegaconf import OmegaConf

from egodtm_robot.core.errors import ConfigurationError, EgoDTMRobotError, UnknownNameError

MISSING = "???"
"""OmegaConf's mark of a value that the user has to give."""

FORMER_IMPORT_PATHS: dict[str, str] = {}
"""Classes that were moved or renamed: the import path that they had, and the one of today.

Whoever moves a class that a file of ``configs`` names adds a line, so that configurations written
before (in the records of runs, in plans, by users) go on naming it.
"""


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
    """The options that ``configs/<group>/<name>.yaml`` holds, with those of its defaults list.

    Raises:
        UnknownNameError: there is no such file.
    """
    if name not in group_names(group):
        raise UnknownNameError(group, name, group_names(group))
    text = (resources.files("configs") / group / f"{name}.yaml").read_text(encoding="utf-8")
    own = plain(OmegaConf.create(text))
    options: dict[str, Any] = {}
    for entry in own.pop("defaults", ["_self_"]):
        if entry == "_self_":
            options |= own
        elif isinstance(entry, str):
            folder, _, file = entry.removesuffix("@_here_").rpartition("/")
            options |= group_config(f"{group}/{folder}".rstrip("/"), file)
    return options


def plain(config: Any) -> dict[str, Any]:
    """A mapping of lists, dictionaries and numbers instead of OmegaConf's containers."""
    if not OmegaConf.is_config(config):
        config = OmegaConf.create(dict(config))
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def current_import_path(path: str) -> str:
    """The import path of today for one that a class may have had before."""
    return FORMER_IMPORT_PATHS.get(path, path)


def import_target(group: str, path: str, error: type[EgoDTMRobotError] = ConfigurationError) -> Any:
    """What ``<group>._target_`` names.

    Args:
        group: of configuration.
        path: package.module.Class; one of :data:`FORMER_IMPORT_PATHS` gives the class of today.
        error: raised where the path leads to nothing that can be called.
    """
    module_name, _, class_name = current_import_path(path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as reason:
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
