"""Making annotators from their configurations.

There is no table of them: a file in ``configs/<stage>`` names the class by its import path
(``_target_``), so a new annotator is a module and a file, and a user's own is an import path.
"""

from collections.abc import Mapping
from typing import Any, cast

from egodtm_robot.core.configuration.instantiation import MISSING, check_options, import_target
from egodtm_robot.core.errors import ConfigurationError
from pretrain.annotate.stage import Annotator


def is_enabled(config: Mapping[str, Any]) -> bool:
    """Whether a stage's configuration names an annotator; that of ``none`` does not."""
    return config.get("_target_") is not None


def check_annotator(stage: str, config: Mapping[str, Any]) -> None:
    """Refuse what can be seen without making the annotator.

    Raises:
        ConfigurationError: an option that has no default is missing.
    """
    missing = [name for name, value in config.items() if value == MISSING]
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
    annotator_class = import_target(stage, target)
    check_options(stage, annotator_class, options)
    annotator = annotator_class(**options)
    if getattr(annotator, "stage", None) != stage or not callable(
        getattr(annotator, "annotate", None)
    ):
        raise ConfigurationError(
            f"Expected {stage}._target_ to name an annotator of stage {stage!r}, got {target!r}, "
            f"whose stage is {getattr(annotator, 'stage', None)!r}."
        )
    return cast(Annotator, annotator)
