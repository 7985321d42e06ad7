"""The ``env`` group of the configuration and the environment it names.

A file of ``configs/env`` names the environment's class by its import path (``_target_``) and its
options, so another simulator is a module and files, and a user's own an import path. What is
stored names the class by its kind instead (see :func:`environment_record`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, fields
from typing import Any

from egodtm_robot.core.configuration import from_mapping
from egodtm_robot.core.configuration.instantiation import check_options, group_config, plain
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from egodtm_robot.core.kinds import KIND, shipped_kinds, shipped_target, stored_config
from envs.contract import EnvironmentDescription, RobotEnvironment, import_environment
from envs.options import EnvironmentConfig


def read_environment(
    options: Mapping[str, Any], unset: Mapping[str, Any] | None = None
) -> EnvironmentConfig:
    """The ``env`` group as the configuration class of the environment that it names.

    Args:
        options: of the group, with ``_target_``; or what :func:`environment_record` returned, which
            names the class by its kind, also as it was stored before there were kinds.
        unset: values for options that are null, where the environment has such options.

    Raises:
        UnknownNameError: there is no such option, task, camera, preset or kind.
        ConfigurationError: no environment is named, or a value has the wrong type or range.
        CameraError: a free camera is incomplete, or two cameras share a name.
    """
    given = plain(options)
    # Until 2026-11 the kind was called scene.
    kind = given.pop(KIND, given.pop("scene", None))
    target = given.pop("_target_", None)
    if target is None and kind is None:
        raise ConfigurationError("Expected an environment, got none; choose one with env=NAME.")
    environment_class = import_environment(target if target is not None else target_of(kind))
    config_class = environment_class.config_class
    check_options("env", config_class, given)
    for option, value in (unset or {}).items():
        if option in given and given[option] is None:
            given[option] = value
    given["_target_"] = f"{environment_class.__module__}.{environment_class.__qualname__}"
    return from_mapping(config_class, given, "env")


def environment_config(name: str, **options: Any) -> EnvironmentConfig:
    """The environment of ``configs/env/<name>.yaml``, with options changed.

    Raises:
        UnknownNameError: there is no such file; further see :func:`read_environment`.
    """
    return read_environment({**group_config("env", name), **options})


def environment_record(config: EnvironmentConfig) -> dict[str, Any]:
    """The configuration as it is stored, as plain JSON: the kind stands for the import path.

    A user's own class, which no file of ``configs/env`` names, keeps its import path: there is no
    other way to find it again.
    """
    return stored_config("env", asdict(config))


def make_environment(
    config: EnvironmentConfig,
    modalities: Sequence[str] = ("rgb",),
    render_mode: str | None = None,
) -> RobotEnvironment:
    """Build the environment that a configuration names.

    Args:
        config: see :func:`read_environment`.
        modalities: which images an observation holds: rgb, depth, segmentation.
        render_mode: ``rgb_array`` lets it draw itself for films.
    """
    options = {field.name: getattr(config, field.name) for field in fields(config)}
    del options["_target_"]
    build: Callable[..., RobotEnvironment] = config.environment_class
    return build(**options, modalities=tuple(modalities), render_mode=render_mode)


def describe_environment(config: EnvironmentConfig) -> EnvironmentDescription:
    """What the environment of a configuration says of itself; builds one for a moment."""
    with closing(make_environment(config, modalities=())) as environment:
        return environment.describe()


def target_of(kind: str) -> str:
    """Import path of the environment of a kind.

    Raises:
        UnknownNameError: there is none in ``configs/env``.
    """
    target = shipped_target("env", kind)
    if target is None:
        raise UnknownNameError("kind of environment", kind, shipped_kinds("env"))
    return target
