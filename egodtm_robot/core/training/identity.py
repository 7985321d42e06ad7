"""What decides a run: all settings but those whose field says that they do not.

How work is spread over processes and devices, or how often it is written down, changes nothing that
comes of a run. The dataclass says so, beside the field's meaning::

    workers: int = field(default=2, metadata=NOT_DECISIVE)
    \"\"\"Processes that draw clips.\"\"\"

What was stored before is compared with the settings of now by paths, ``training.batch_size``.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from egodtm_robot.core.configuration.instantiation import current_import_path

NOT_DECISIVE: Mapping[str, Any] = MappingProxyType({"decisive": False})
"""Metadata of a dataclass's field that may differ between the parts of a run."""

_ABSENT = object()
_SHOWN = 60


def decisive(settings: Any) -> Any:
    """Everything that decides a run, as plain values that JSON and YAML hold.

    Args:
        settings: a dataclass, mapping, sequence or plain value, nested in any way.

    Returns:
        Dictionaries, lists and plain values, without the fields that are :data:`NOT_DECISIVE`.
    """
    if dataclasses.is_dataclass(settings):
        return {
            field.name: decisive(getattr(settings, field.name))
            for field in _decisive_fields(settings)
        }
    if isinstance(settings, Mapping):
        return {str(name): decisive(value) for name, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return [decisive(value) for value in settings]
    return settings


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Name each setting that decides a run and is not what it was.

    A field that dataclasses got since then counts as if it had been stored with its default: new
    settings begin with a default that keeps what was there.

    Args:
        before: plain values as they were stored, with or without those that do not decide.
        now: the settings of now, see :func:`decisive`.
        path: of both, for the names.

    Returns:
        Texts such as ``training.batch_size: 32 -> 64``; none where nothing differs.
    """
    if dataclasses.is_dataclass(now) and isinstance(before, Mapping):
        known = {field.name for field in dataclasses.fields(now)}
        found = [
            text
            for field in _decisive_fields(now)
            for text in differences(
                before.get(field.name, _default(field)),
                getattr(now, field.name),
                _joined(path, field.name),
            )
        ]
        gone = [name for name in before if name not in known]
        return found + [_difference(_joined(path, name), before[name], _ABSENT) for name in gone]
    if isinstance(now, Mapping) and isinstance(before, Mapping):
        values = {str(name): value for name, value in now.items()}
        return [
            text
            for name in dict.fromkeys([*before, *values])
            for text in differences(
                before.get(name, _ABSENT), values.get(name, _ABSENT), _joined(path, name)
            )
        ]
    if _is_list(now) and _is_list(before) and len(now) == len(before) and any(map(_nests, now)):
        return [
            text
            for index, (old, new) in enumerate(zip(before, now, strict=True))
            for text in differences(old, new, _joined(path, index))
        ]
    plain = decisive(now)
    return [] if _equal(before, plain) else [_difference(path, before, plain)]


def listed(found: Sequence[str], at_most: int = 6) -> str:
    """The first of :func:`differences` in one line, and the number of those left out."""
    rest = len(found) - at_most
    return "; ".join(found[:at_most]) + (f"; and {rest} more" if rest > 0 else "")


def _decisive_fields(settings: Any) -> list[dataclasses.Field]:
    return [field for field in dataclasses.fields(settings) if field.metadata.get("decisive", True)]


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return decisive(field.default_factory())
    return _ABSENT if field.default is dataclasses.MISSING else decisive(field.default)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _nests(value: Any) -> bool:
    return dataclasses.is_dataclass(value) or isinstance(value, Mapping)


def _equal(before: Any, now: Any) -> bool:
    if isinstance(before, float) and isinstance(now, float) and math.isnan(before):
        return math.isnan(now)
    if isinstance(before, str) and isinstance(now, str):
        # A class that was moved since then is the same class.
        return current_import_path(before) == current_import_path(now)
    return bool(before == now)


def _joined(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _difference(path: str, before: Any, now: Any) -> str:
    return f"{path}: {_shown(before)} -> {_shown(now)}"


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    text = value if isinstance(value, str) and value else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
