"""Scores in words: lines for people, of any task."""

from collections.abc import Mapping
from typing import Any


def score_lines(name: str, scores: Mapping[str, Any]) -> list[str]:
    """The plain scores of a task (see :meth:`pretrain.evaluate.task.Scores.plain`) as a table.

    A group of scores is a row, as ``text_to_video`` is; scores outside a group are the first row.
    """
    own = {key: value for key, value in scores.items() if not isinstance(value, Mapping)}
    groups = {key: value for key, value in scores.items() if isinstance(value, Mapping)}
    rows: list[tuple[str, Mapping[str, Any]]] = [(name, own)] if own else []
    rows += [(group, found) for group, found in groups.items()]
    lines = [] if own else [name.replace("_", " ")]
    columns: tuple[str, ...] = ()
    for label, values in rows:
        if tuple(values) != columns:
            columns = tuple(values)
            lines.append(" " * 20 + " ".join(f"{_words(one):>12}" for one in columns))
        cells = " ".join(f"{_cell(value):>12}" for value in values.values())
        lines.append(f"{('' if label == name else '  ') + _words(label):<20}{cells}")
    return lines


def interval_lines(tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Numbers of tasks with their intervals, as they stand in an evaluation's ``results.json``."""
    lines = [f"{'task':<18}{'number':<34}{'value':>8}   95% interval"]
    for name, found in tasks.items():
        for number, one in found["numbers"].items():
            interval = (
                "one video alone has none"
                if one["low"] is None
                else f"{one['low']:.3f} to {one['high']:.3f}"
            )
            lines.append(f"{_words(name):<18}{_words(number):<34}{one['value']:>8.3f}   {interval}")
        facts = ", ".join(f"{_words(key)} {_cell(value)}" for key, value in found["facts"].items())
        if facts:
            lines.append(f"{'':<18}{facts}")
    return lines


def _words(name: str) -> str:
    return name.replace("_", " ").replace("/", " ")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, (list, tuple)):
        return " to ".join(_cell(one) for one in value)
    return "-" if value is None else str(value)
