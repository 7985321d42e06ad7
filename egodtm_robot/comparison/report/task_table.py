"""Success under every condition as a table of tiles, with ceilings and floors."""

from collections.abc import Sequence
from dataclasses import dataclass

from egodtm_robot.comparison.comparison import Cell, Comparison
from egodtm_robot.comparison.report.parts import (
    NO_BREAK,
    UNKNOWN,
    condition_name,
    interval_text,
    listed,
    percent,
)
from egodtm_robot.comparison.report.run_records import RunRecord

CEILING = 0.95
"""From this success rate on, a condition leaves an arm little room upwards."""

FLOOR = 0.05
"""Up to this success rate, a condition leaves an arm little room downwards."""


@dataclass(frozen=True)
class Tile:
    """An arm under one condition.

    Attributes:
        percent: success in words.
        interval: Wilson's, in words.
        level: success in percent, for the tile's color and bar; -1 without a run.
        mark: ``ceiling`` or ``floor``, or nothing.
        seeds: success of each run seed, in words.
    """

    percent: str
    interval: str
    level: float
    mark: str
    seeds: str


@dataclass(frozen=True)
class TaskTable:
    """The part of the page on conditions.

    Attributes:
        columns: names of the conditions.
        rows: name of each arm with a tile a column.
        sentences: on ceilings and floors.
        confidence: level of the intervals, percent.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Tile, ...]], ...]
    sentences: tuple[str, ...]
    confidence: str


def task_table(comparison: Comparison, records: dict[str, tuple[RunRecord, ...]]) -> TaskTable:
    """The success of every arm under every condition.

    Args:
        comparison: of the arms.
        records: what is known of the runs of each arm.
    """
    columns = tuple(condition_name(one, comparison.conditions) for one in comparison.conditions)
    rows = tuple(
        (arm.name, tuple(_tile(arm.cells.get(one)) for one in comparison.conditions))
        for arm in comparison.arms
    )
    sentences = [
        *_bounds(comparison, records),
        *_demonstrators(comparison, records),
        *_crowded(columns, rows),
    ]
    return TaskTable(columns, rows, tuple(sentences), percent(comparison.confidence))


def _tile(cell: Cell | None) -> Tile:
    if cell is None:
        return Tile(UNKNOWN, "no run", -1, "", "")
    mark = "ceiling" if cell.rate >= CEILING else "floor" if cell.rate <= FLOOR else ""
    seeds = ", ".join(
        f"{seed}:{NO_BREAK}{percent(rate)}" for seed, rate in sorted(cell.run_rates.items())
    )
    return Tile(percent(cell.rate), interval_text(cell.interval, 0), 100 * cell.rate, mark, seeds)


def _bounds(comparison: Comparison, records: dict[str, tuple[RunRecord, ...]]) -> list[str]:
    """What the arms that see everything and nothing say about the room between them."""
    sentences = []
    for encoder, role, sees in (
        ("oracle", "ceiling", "the simulator's state in place of images"),
        ("none", "floor", "no images"),
    ):
        for arm in comparison.arms:
            names = {record.results.encoder.get("name") for record in records.get(arm.name, ())}
            if names == {encoder} and arm.mean is not None:
                sentences.append(
                    f"{arm.name} sees {sees} and is the {role}: {percent(arm.mean.value)} %."
                )
    return sentences


def _demonstrators(comparison: Comparison, records: dict[str, tuple[RunRecord, ...]]) -> list[str]:
    """How often the demonstrator itself succeeded."""
    rates = {}
    for record in (record for found in records.values() for record in found):
        kept, attempted = (record.results.demos.get(name) for name in ("kept", "attempted"))
        if kept and attempted:
            rates[record.results.env] = kept / attempted
    if not rates:
        return []
    least, most = percent(min(rates.values())), percent(max(rates.values()))
    span = f"{least} %" if least == most else f"{least} to {most} %"
    return [f"The demonstrator, which policies imitate, succeeded in {span} of its attempts."]


def _crowded(columns: Sequence[str], rows: Sequence[tuple[str, tuple[Tile, ...]]]) -> list[str]:
    """Conditions under which all arms are at the same end, which tell nothing apart."""
    sentences = []
    for mark in ("ceiling", "floor"):
        crowded = [
            name
            for column, name in enumerate(columns)
            if rows and all(tiles[column].mark == mark for _, tiles in rows)
        ]
        if crowded:
            sentences.append(
                f"All arms are at the {mark} under {listed(crowded)}, which can hardly tell them "
                "apart."
            )
    return sentences
