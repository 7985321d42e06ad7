"""Making a source from its configuration, as encoders are made from theirs.

There is no table of sources: a file in ``configs/source`` names the class by its import path
(``_target_``), so a new source is a module and a file, and a user's own is an import path.
"""

import importlib
import inspect
from collections.abc import Mapping
from importlib import resources
from typing import Any, cast

from omegaconf import OmegaConf

from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from pretrain.clips.sources.base import Source

_MISSING = "???"
"""OmegaConf's mark of a value that the user has to give."""


def source_names() -> tuple[str, ...]:
    """Names of the sources that have a file in ``configs/source``."""
    folder = resources.files("configs") / "source"
    return tuple(
        sorted(
            entry.name.removesuffix(".yaml")
            for entry in folder.iterdir()
            if entry.name.endswith(".yaml")
        )
    )


def source_config(name: str) -> dict[str, Any]:
    """The options that ``configs/source/<name>.yaml`` holds.

    Raises:
        UnknownNameError: there is no such file.
    """
    if name not in source_names():
        raise UnknownNameError("source", name, source_names())
    text = (resources.files("configs") / "source" / f"{name}.yaml").read_text(encoding="utf-8")
    return _plain(OmegaConf.create(text))


def make_source(config: str | Mapping[str, Any]) -> Source:
    """Build a source.

    Args:
        config: a name of :func:`source_names`, or a mapping with ``_target_`` (import path of the
            class) and the class's options.

    Raises:
        UnknownNameError: no source of that name, or no such option.
        ConfigurationError: the import path leads nowhere or to no source, or an option is missing.
    """
    given = source_config(config) if isinstance(config, str) else _plain(config)
    target = str(given.pop("_target_", None))
    module_name, _, class_name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            "Expected source._target_ to be the import path of a source "
            f"(package.module.Class), got {target!r}: {error}."
        ) from error
    if not (inspect.isclass(found) and callable(getattr(found, "read", None))):
        raise ConfigurationError(
            f"Expected source._target_ to name a class with a method read, got {target!r}."
        )
    parameters = dict(inspect.signature(found).parameters)
    for option in given:
        if option not in parameters:
            raise UnknownNameError(f"option of source {class_name}", option, tuple(parameters))
    missing = [
        option
        for option, parameter in parameters.items()
        if given.get(option) in (None, _MISSING) and parameter.default is inspect.Parameter.empty
    ]
    if missing:
        listed = ", ".join(f"source.{option}=..." for option in missing)
        raise ConfigurationError(f"Source {class_name} needs {listed}.")
    return cast(Source, found(**given))


def _plain(config: Any) -> dict[str, Any]:
    """A mapping of lists, dictionaries and numbers instead of OmegaConf's containers."""
    if not OmegaConf.is_config(config):
        config = OmegaConf.create(dict(config))
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
