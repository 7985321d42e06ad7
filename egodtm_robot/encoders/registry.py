"""Making an encoder from its configuration.

There is no table of encoders: a file in ``configs/encoder`` names the class by its import path
(``_target_``), so a new encoder is a module and a file, and a user's own is an import path.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from egodtm_robot.core.errors import EncoderOptionError
from egodtm_robot.core.instantiation import (
    check_options,
    current_import_path,
    group_config,
    group_names,
    import_target,
    plain,
)
from egodtm_robot.encoders.base import Encoder


def encoder_names() -> tuple[str, ...]:
    """Names of the encoders that have a file in ``configs/encoder``."""
    return group_names("encoder")


def encoder_config(name: str) -> dict[str, Any]:
    """The options that ``configs/encoder/<name>.yaml`` holds.

    Raises:
        UnknownNameError: there is no such file.
    """
    return group_config("encoder", name)


def make_encoder(config: str | Mapping[str, Any]) -> Encoder:
    """Build an encoder.

    Args:
        config: a name of :func:`encoder_names` for that encoder with its defaults, or a mapping
            with ``_target_`` (import path of an :class:`Encoder` class), ``name`` (optional, what
            results call it) and the class's options. A mapping without ``_target_`` takes it and
            all options not given from the file of its ``name``.

            Where ``_target_`` is not that of the named file (``encoder._target_=my.module.Mine`` on
            the command line leaves the options of the default encoder in place), options that still
            have the file's values belong to the other encoder and are dropped. ``encoder=custom``
            has none to begin with.

    Returns:
        The encoder, on the CPU.

    Raises:
        UnknownNameError: no encoder of that name.
        EncoderOptionError: the import path leads nowhere or to something that is no encoder, or an
            option is unknown or missing.
    """
    given = {"name": config} if isinstance(config, str) else plain(config)
    name = given.pop("name", None)
    target = given.pop("_target_", None)
    defaults: dict[str, Any] = {}
    if target is None or name in encoder_names():
        defaults = encoder_config(str(name))
        defaults.pop("name", None)
        own_target = defaults.pop("_target_")
        if target is None:
            target = own_target
            given = {**defaults, **given}
    else:
        own_target = target
    encoder_class = _import_encoder(str(target))
    if current_import_path(str(target)) != current_import_path(str(own_target)):
        name = None
        given = {
            key: value
            for key, value in given.items()
            if key not in defaults or value != defaults[key]
        }
    check_options("encoder", encoder_class, given, EncoderOptionError)
    encoder = encoder_class(**given)
    if name is not None:
        encoder.name = str(name)
    return encoder


def _import_encoder(path: str) -> type[Encoder]:
    found = import_target("encoder", path, EncoderOptionError)
    if not (inspect.isclass(found) and issubclass(found, Encoder)):
        raise EncoderOptionError(
            f"Expected encoder._target_ to name a subclass of egodtm_robot.encoders.Encoder, got "
            f"{path!r}, which is {found!r}."
        )
    return found
