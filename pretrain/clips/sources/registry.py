"""Making a source from its configuration, as encoders are made from theirs.

There is no table of sources: a file in ``configs/source`` names the class by its import path
(``_target_``), so a new source is a module and a file, and a user's own is an import path.
"""

import inspect
from collections.abc import Mapping
from typing import Any, cast

from egodtm_robot.core.configuration.instantiation import (
    check_options,
    group_config,
    group_names,
    import_target,
    plain,
)
from egodtm_robot.core.errors import ConfigurationError
from pretrain.clips.sources.base import Source


def source_names() -> tuple[str, ...]:
    """Names of the sources that have a file in ``configs/source``."""
    return group_names("source")


def source_config(name: str) -> dict[str, Any]:
    """The options that ``configs/source/<name>.yaml`` holds.

    Raises:
        UnknownNameError: there is no such file.
    """
    return group_config("source", name)


def make_source(config: str | Mapping[str, Any]) -> Source:
    """Build a source.

    Args:
        config: a name of :func:`source_names`, or a mapping with ``_target_`` (import path of the
            class) and the class's options.

    Raises:
        UnknownNameError: no source of that name, or no such option.
        ConfigurationError: the import path leads nowhere or to no source, or an option is missing.
    """
    given = source_config(config) if isinstance(config, str) else plain(config)
    target = str(given.pop("_target_", None))
    found = import_target("source", target)
    if not (inspect.isclass(found) and callable(getattr(found, "read", None))):
        raise ConfigurationError(
            f"Expected source._target_ to name a class with a method read, got {target!r}."
        )
    check_options("source", found, given)
    return cast(Source, found(**given))
