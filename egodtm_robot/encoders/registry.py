"""Making an encoder from its configuration.

There is no table of encoders: a file in ``configs/encoder`` names the class by its import path
(``_target_``), so a new encoder is a module and a file, and a user's own is an import path.
"""

from collections.abc import Mapping
from typing import Any

from egodtm_robot.core.configuration.instantiation import (
    Choice,
    check_options,
    choose,
    group_config,
    group_names,
)
from egodtm_robot.core.errors import EncoderOptionError
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


def check_encoder(config: str | Mapping[str, Any]) -> None:
    """Refuse an encoder whose options are wrong or whose weights cannot be had; none are read.

    Args:
        config: see :func:`make_encoder`.

    Raises:
        EgoDTMRobotError: what :func:`make_encoder` would say.
    """
    choice = _choose(config)
    choice.target.check_sources(choice.options)


def make_encoder(config: str | Mapping[str, Any]) -> Encoder:
    """Build an encoder.

    Args:
        config: a name of :func:`encoder_names` for that encoder with its defaults, the import path
            of an :class:`Encoder` class, or a mapping with ``_target_`` (such a path), ``name``
            (optional, what results call it) and the class's options; see
            :func:`egodtm_robot.core.configuration.instantiation.choose`.

    Returns:
        The encoder, on the CPU.

    Raises:
        UnknownNameError: no encoder of that name.
        EncoderOptionError: the import path leads nowhere or to something that is no encoder, or an
            option is unknown or missing.
    """
    choice = _choose(config)
    encoder: Encoder = choice.target(**choice.options)
    if choice.name is not None:
        encoder.name = choice.name
    return encoder


def _choose(config: str | Mapping[str, Any]) -> Choice:
    choice = choose("encoder", config, EncoderOptionError, Encoder)
    check_options("encoder", choice.target, choice.options, EncoderOptionError)
    return choice
