"""Making an encoder from its configuration.

There is no table of encoders: a file in ``configs/encoder`` names the class by its import path
(``_target_``), so a new encoder is a module and a file, and a user's own is an import path.
"""

import importlib
import inspect
from collections.abc import Mapping
from importlib import resources
from typing import Any

from omegaconf import OmegaConf

from egodtm_robot.core.errors import EncoderOptionError, UnknownNameError
from egodtm_robot.encoders.base import Encoder

_MISSING = "???"
"""OmegaConf's mark of a value that the user has to give."""


def encoder_names() -> tuple[str, ...]:
    """Names of the encoders that have a file in ``configs/encoder``."""
    folder = resources.files("configs") / "encoder"
    return tuple(
        sorted(
            entry.name.removesuffix(".yaml")
            for entry in folder.iterdir()
            if entry.name.endswith(".yaml")
        )
    )


def encoder_config(name: str) -> dict[str, Any]:
    """The options that ``configs/encoder/<name>.yaml`` holds.

    Raises:
        UnknownNameError: there is no such file.
    """
    if name not in encoder_names():
        raise UnknownNameError("encoder", name, encoder_names())
    text = (resources.files("configs") / "encoder" / f"{name}.yaml").read_text(encoding="utf-8")
    return _plain(OmegaConf.create(text))


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
    given = {"name": config} if isinstance(config, str) else _plain(config)
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
    if target != own_target:
        name = None
        given = {
            key: value
            for key, value in given.items()
            if key not in defaults or value != defaults[key]
        }
    _check_options(encoder_class, given)
    encoder = encoder_class(**given)
    if name is not None:
        encoder.name = str(name)
    return encoder


def _import_encoder(path: str) -> type[Encoder]:
    module_name, _, class_name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise EncoderOptionError(
            f"Expected encoder._target_ to be the import path of an encoder class "
            f"(package.module.Class), got {path!r}: {error}. The module must be installed or lie "
            "in a folder of PYTHONPATH."
        ) from error
    if not (inspect.isclass(found) and issubclass(found, Encoder)):
        raise EncoderOptionError(
            f"Expected encoder._target_ to name a subclass of egodtm_robot.encoders.Encoder, got "
            f"{path!r}, which is {found!r}."
        )
    return found


def _parameters(encoder_class: type[Encoder]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(encoder_class).parameters)


def _check_options(encoder_class: type[Encoder], options: Mapping[str, Any]) -> None:
    parameters = _parameters(encoder_class)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for option in options:
        if option not in parameters:
            raise UnknownNameError(
                f"option of encoder {encoder_class.__name__}", option, tuple(parameters)
            )
    missing = [
        option
        for option, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind is not inspect.Parameter.VAR_POSITIONAL
        and options.get(option) in (None, _MISSING)
    ]
    if missing:
        listed = ", ".join(f"encoder.{option}=..." for option in missing)
        raise EncoderOptionError(f"Encoder {encoder_class.__name__} needs {listed}.")


def _plain(config: Any) -> dict[str, Any]:
    """A mapping of lists, dictionaries and numbers instead of OmegaConf's containers."""
    if not OmegaConf.is_config(config):
        config = OmegaConf.create(dict(config))
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
