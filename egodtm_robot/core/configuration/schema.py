"""Dataclasses as schemas: what OmegaConf types, and what it cannot express.

OmegaConf (2.3) knows neither ``Literal`` nor ``Annotated``. :func:`schema_of` makes the dataclass
that OmegaConf sees, in which a ``Literal`` is a plain string or number, and :func:`build` makes the
real dataclass of a composed configuration and checks choices and constraints on the way, with the
whole key in the message.
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from egodtm_robot.core.configuration.constraints import Constraint, OutputPath
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError

ConfigT = TypeVar("ConfigT")


_schemas: dict[type, type] = {}


def to_yaml(config: object) -> str:
    """The text of ``config.yaml`` for a configuration dataclass."""
    return OmegaConf.to_yaml(OmegaConf.structured(_schema_value(config)))


def from_yaml(config_class: type[ConfigT], text: str) -> ConfigT:
    """Read back what :func:`to_yaml` wrote.

    Raises:
        ConfigurationError: the text is not YAML or does not fit the dataclass.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"Expected a configuration of type {config_class.__name__}: {one_line(error)}"
        ) from error
    return from_mapping(config_class, values)


def from_mapping(config_class: type[ConfigT], values: Any, key: str = "") -> ConfigT:
    """Make a configuration dataclass of nested dictionaries, such as those of a checkpoint.

    Args:
        config_class: the dataclass that types every key.
        values: what differs from its defaults; OmegaConf's containers are taken as well.
        key: that the values stand under, for messages; empty where they are a whole configuration.

    Raises:
        ConfigurationError: the values do not fit the dataclass, or one is missing.
        UnknownNameError: a value is none of the choices.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema_of(config_class)), values)
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        found = f"{key}.{one_line(error)}" if key else one_line(error)
        raise ConfigurationError(
            f"Expected a configuration of type {config_class.__name__}: {found}"
        ) from error
    return build(config_class, cast(DictConfig, merged), key)


def schema_of(config_class: type) -> type:
    """The dataclass that OmegaConf sees in place of ``config_class``, always the same one.

    It has the same fields and defaults, without ``Literal``, ``Annotated`` and ``__post_init__``.
    """
    if config_class not in _schemas:
        _schemas[config_class] = _make_schema(config_class)
    return _schemas[config_class]


def build(config_class: type[ConfigT], composed: DictConfig, key: str = "") -> ConfigT:
    """Make the dataclass of a composed configuration.

    Args:
        config_class: the real dataclass.
        composed: a configuration whose type is :func:`schema_of` that class.
        key: that it stands under, for messages.

    Raises:
        ConfigurationError: a value is missing, a number is out of range, or an interpolation
            cannot be resolved.
        UnknownNameError: a value is none of the choices.
    """
    prefix = f"{key}." if key else ""
    try:
        missing = sorted(f"{prefix}{name}" for name in OmegaConf.missing_keys(composed))
        values = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigurationError(f"{prefix}{one_line(error)}") from error
    except RecursionError as error:
        raise ConfigurationError(
            "Expected interpolations that lead to a value; some refer to one another in a circle."
        ) from error
    if missing:
        raise ConfigurationError(
            f"No value for {', '.join(missing)}; give one, such as {missing[0]}=VALUE."
        )
    return cast(ConfigT, _build(config_class, values, key))


def check_value(key: str, hint: Any, value: Any) -> None:
    """Refuse a value that does not fit a type hint, as it is and without converting it.

    Sequences may be lists or tuples, and a whole number is a number too. Hints of other kinds, such
    as classes, fit all values.

    Raises:
        ConfigurationError: the type is wrong, or a constraint is not satisfied.
        UnknownNameError: the value is none of the choices of a ``Literal``.
    """
    if not _fits(hint, value):
        raise ConfigurationError(f"Expected {key} to be {_in_words(hint)}, got {value!r}.")
    _build(hint, value, key)


def _fits(hint: Any, value: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _fits(arguments[0], value)
    if origin in (Union, types.UnionType):
        return any(_fits(one, value) for one in arguments)
    if origin is Literal:
        return isinstance(value, tuple({type(choice) for choice in arguments}))
    if hint in (None, type(None)):
        return value is None
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    if hint is bool:
        return isinstance(value, bool)
    if hint in (str, Path):
        # From Python, a path may stand for its text.
        return isinstance(value, (str, Path))
    kind = origin or hint
    if kind in (list, tuple, Sequence):
        if not isinstance(value, (list, tuple)):
            return False
        if kind is tuple and arguments and arguments[-1] is not Ellipsis:
            return len(value) == len(arguments) and all(map(_fits, arguments, value))
        return not arguments or all(_fits(arguments[0], one) for one in value)
    if kind in (dict, Mapping):
        return isinstance(value, Mapping)
    return True


_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text (in quotes where it looks like a number)",
    bool: "true or false",
    Path: "a path",
    type(None): "null",
    dict: "a mapping",
    Mapping: "a mapping",
}


def _in_words(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _in_words(arguments[0])
    if origin in (Union, types.UnionType):
        words = dict.fromkeys(_in_words(one) for one in arguments)
        return " or ".join(words)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)}"
    if (origin or hint) in (list, tuple, Sequence):
        return "a list"
    return _WORDS.get(origin or hint, str(hint))


def output_paths(config: object) -> Iterator[tuple[str, Path]]:
    """The keys of a configuration dataclass that say where to write, with their paths."""
    for field in dataclasses.fields(cast(Any, config)):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from ((f"{field.name}.{key}", path) for key, path in output_paths(value))
        elif value is not None and _names_output(_hints(type(config))[field.name]):
            yield field.name, Path(value)


def one_line(error: BaseException) -> str:
    """The first line of an error of Hydra or OmegaConf, with the key that it is about."""
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    key = getattr(error, "full_key", None)
    return f"{key}: {first}" if key else first


def _make_schema(config_class: type) -> type:
    hints = _hints(config_class)
    fields: list[Any] = []
    for field in dataclasses.fields(config_class):
        default: Any = dataclasses.field()
        if field.default is not dataclasses.MISSING:
            default = dataclasses.field(default=field.default)
        elif field.default_factory is not dataclasses.MISSING:
            default = dataclasses.field(
                default_factory=functools.partial(_schema_default, field.default_factory)
            )
        fields.append((field.name, _schema_type(hints[field.name]), default))
    return dataclasses.make_dataclass(config_class.__name__, fields)


def _hints(config_class: Any) -> dict[str, Any]:
    return typing.get_type_hints(config_class, include_extras=True)


def _names_output(hint: Any) -> bool:
    if typing.get_origin(hint) is Annotated:
        return any(isinstance(one, OutputPath) for one in typing.get_args(hint)[1:])
    return any(_names_output(argument) for argument in typing.get_args(hint))


def _schema_default(factory: Any) -> Any:
    return _schema_value(factory())


def _schema_value(value: Any) -> Any:
    """A value in which instances of schemas stand for those of the real dataclasses."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        schema = schema_of(type(value))
        names = [field.name for field in dataclasses.fields(value)]
        return schema(**{name: _schema_value(getattr(value, name)) for name in names})
    if isinstance(value, list):
        return [_schema_value(item) for item in value]
    if isinstance(value, dict):
        return {key: _schema_value(item) for key, item in value.items()}
    return value


def _schema_type(hint: Any) -> Any:
    """A type hint without what OmegaConf does not know."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return schema_of(cast(type, hint))
    if origin is Annotated:
        return _schema_type(arguments[0])
    if origin is Literal:
        return Union[tuple({type(choice) for choice in arguments})]  # noqa: UP007
    if origin in (Union, types.UnionType):
        return Union[tuple(_schema_type(argument) for argument in arguments)]  # noqa: UP007
    if origin is not None and arguments:
        return origin[tuple(_schema_type(argument) for argument in arguments)]
    return hint


def _build(hint: Any, value: Any, key: str) -> Any:
    """Make what a type hint says of a plain value, which OmegaConf has converted already."""
    if value is None:
        return None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        hints = _hints(hint)
        prefix = f"{key}." if key else ""
        return cast(type, hint)(
            **{name: _build(hints[name], item, f"{prefix}{name}") for name, item in value.items()}
        )
    if origin is Annotated:
        for constraint in arguments[1:]:
            if isinstance(constraint, Constraint):
                constraint.check(key, value)
        return _build(arguments[0], value, key)
    if origin is Literal:
        if value not in arguments:
            raise UnknownNameError(key, value, [str(choice) for choice in arguments])
        return value
    if origin in (Union, types.UnionType):
        given = [argument for argument in arguments if argument is not type(None)]
        # Of several types OmegaConf admits only primitive ones, which are right as they are.
        return _build(given[0], value, key) if len(given) == 1 else value
    if origin is list and isinstance(value, list):
        return [_build(arguments[0], item, key) for item in value]
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {name: _build(arguments[1], item, f"{key}.{name}") for name, item in value.items()}
    return value
