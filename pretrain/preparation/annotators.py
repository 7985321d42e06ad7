"""Making annotators from their configurations.

There is no table of them: a file in ``configs/<stage>`` names the class by its import path
(``_target_``), so a new annotator is a module and a file, and a user's own is an import path.
"""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, cast

from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from pretrain.annotate.base import Annotator

_MISSING = "???"
"""OmegaConf's mark of a value that the user has to give."""


def is_enabled(config: Mapping[str, Any]) -> bool:
    """Whether a stage's configuration names an annotator; that of ``none`` does not."""
    return config.get("_target_") is not None


def check_annotator(stage: str, config: Mapping[str, Any]) -> None:
    """Refuse what can be seen without making the annotator.

    Raises:
        ConfigurationError: an option that has no default is missing.
    """
    missing = [name for name, value in config.items() if value == _MISSING]
    if missing:
        listed = ", ".join(f"{stage}.{name}=..." for name in missing)
        raise ConfigurationError(f"{stage} {config.get('name', '')!r} needs {listed}.")


def make_annotator(stage: str, config: Mapping[str, Any]) -> Annotator:
    """Build the annotator of a stage.

    Args:
        stage: which stage.
        config: ``_target_`` (import path of a class), ``name`` (optional) and the class's options.

    Raises:
        ConfigurationError: the import path leads nowhere or to something that is no annotator of
            that stage, or an option is missing.
        UnknownNameError: the class takes no such option.
        EgoDTMRobotError: see the class.
    """
    options = {name: value for name, value in config.items() if name not in ("_target_", "name")}
    target = str(config.get("_target_"))
    annotator_class = _import(stage, target)
    parameters = inspect.signature(annotator_class).parameters
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        for option in options:
            if option not in parameters:
                raise UnknownNameError(
                    f"option of {stage} annotator {target.rpartition('.')[2]}",
                    option,
                    tuple(parameters),
                )
    check_annotator(stage, {"name": config.get("name", target), **options})
    annotator = annotator_class(**options)
    if getattr(annotator, "stage", None) != stage or not callable(
        getattr(annotator, "annotate", None)
    ):
        raise ConfigurationError(
            f"Expected {stage}._target_ to name an annotator of stage {stage!r}, got {target!r}, "
            f"whose stage is {getattr(annotator, 'stage', None)!r}."
        )
    return cast(Annotator, annotator)


def _import(stage: str, path: str) -> Any:
    module_name, _, class_name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"Expected {stage}._target_ to be the import path of an annotator "
            f"(package.module.Class), got {path!r}: {error}. The module must be installed or lie "
            "in a folder of PYTHONPATH."
        ) from error
    if not callable(found):
        raise ConfigurationError(
            f"Expected {stage}._target_ to name a class, got {path!r}, which is {found!r}."
        )
    return found
