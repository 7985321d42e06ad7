"""What decides a run: all settings but those whose field says that they do not.

How work is spread over processes and devices, or how often it is written down, changes nothing that
comes of a run. The dataclass says so, beside the field's meaning::

    workers: int = field(default=2, metadata=NOT_DECISIVE)
    \"\"\"Processes that draw clips.\"\"\"

Where a field holds the options of a part, it names those among them that do not decide::

    encoder: dict[str, Any] = field(metadata=options_not_decisive("batch_size"))

What was stored before is compared with the settings of now by paths, ``training.batch_size``.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from egodtm_robot.core.configuration.instantiation import current_import_path

NOT_DECISIVE: Mapping[str, Any] = MappingProxyType({"decisive": False})
"""Metadata of a dataclass's field that may differ between the parts of a run."""


ADDED_LATER: Mapping[str, Any] = MappingProxyType({"added_later": True})
"""Metadata of an option of a part (a policy) that came after runs with that part were stored. Where
it has its default it is not written down, so that those runs are gone on with."""


def options_not_decisive(*names: str) -> Mapping[str, Any]:
    """Metadata of a dataclass's field that is a mapping, some keys of which may differ."""
    return MappingProxyType({"options_not_decisive": names})


def without_later_defaults(options: Any) -> dict[str, Any]:
    """A dataclass's fields as plain values, but for those :data:`ADDED_LATER` at their default."""
    values = dataclasses.asdict(options)
    return {
        field.name: values[field.name]
        for field in dataclasses.fields(options)
        if not (field.metadata.get("added_later") and values[field.name] == _default(field))
    }


ABSENT = object()
"""In a difference: there is no such setting on that side."""

_SHOWN = 60


@dataclass(frozen=True)
class Difference:
    """A setting that decides a run and is not what it was.

    Attributes:
        path: of the setting, such as ``training.batch_size``.
        before: its plain value then; :data:`ABSENT` where there was none.
        now: its plain value now; :data:`ABSENT` where there is none.
    """

    path: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.path}: {_shown(self.before)} -> {_shown(self.now)}"


def decisive(settings: Any) -> Any:
    """Everything that decides a run, as plain values that JSON and YAML hold.

    Args:
        settings: a dataclass, mapping, sequence or plain value, nested in any way.

    Returns:
        Dictionaries, lists and plain values, without the fields that are :data:`NOT_DECISIVE`.
    """
    if dataclasses.is_dataclass(settings):
        return {
            field.name: decisive(_decisive_part(field, getattr(settings, field.name)))
            for field in _decisive_fields(settings)
        }
    if isinstance(settings, Mapping):
        return {str(name): decisive(value) for name, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return [decisive(value) for value in settings]
    return settings


def differences(before: Any, now: Any, path: str = "") -> list[Difference]:
    """Find each setting that decides a run and is not what it was.

    A field that dataclasses got since then counts as if it had been stored with its default: new
    settings begin with a default that keeps what was there.

    Args:
        before: plain values as they were stored, with or without those that do not decide.
        now: the settings of now, see :func:`decisive`.
        path: of both, for the names.

    Returns:
        In the order of the settings; their texts are such as ``training.batch_size: 32 -> 64``.
    """
    if dataclasses.is_dataclass(now) and isinstance(before, Mapping):
        known = {field.name for field in dataclasses.fields(now)}
        found = [
            difference
            for field in _decisive_fields(now)
            for difference in differences(
                _decisive_part(field, before.get(field.name, _default(field))),
                _decisive_part(field, getattr(now, field.name)),
                _joined(path, field.name),
            )
        ]
        gone = [name for name in before if name not in known]
        return found + [Difference(_joined(path, name), before[name], ABSENT) for name in gone]
    if isinstance(now, Mapping) and isinstance(before, Mapping):
        values = {str(name): value for name, value in now.items()}
        return [
            difference
            for name in dict.fromkeys([*before, *values])
            for difference in differences(
                before.get(name, ABSENT), values.get(name, ABSENT), _joined(path, name)
            )
        ]
    if _is_list(now) and _is_list(before) and len(now) == len(before) and any(map(_nests, now)):
        return [
            difference
            for index, (old, new) in enumerate(zip(before, now, strict=True))
            for difference in differences(old, new, _joined(path, index))
        ]
    plain = decisive(now)
    return [] if _equal(before, plain) else [Difference(path, before, plain)]


def listed(found: Sequence[Difference], at_most: int = 6) -> str:
    """The first of :func:`differences` in one line, and the number of those left out."""
    rest = len(found) - at_most
    return "; ".join(map(str, found[:at_most])) + (f"; and {rest} more" if rest > 0 else "")


def _decisive_fields(settings: Any) -> list[dataclasses.Field]:
    return [field for field in dataclasses.fields(settings) if field.metadata.get("decisive", True)]


def _decisive_part(field: dataclasses.Field, value: Any) -> Any:
    """The value of a field without the options that do not decide."""
    dropped = field.metadata.get("options_not_decisive", ())
    if not dropped or not isinstance(value, Mapping):
        return value
    return {name: one for name, one in value.items() if name not in dropped}


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return decisive(field.default_factory())
    return ABSENT if field.default is dataclasses.MISSING else decisive(field.default)


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


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "absent"
    text = value if isinstance(value, str) and value else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
