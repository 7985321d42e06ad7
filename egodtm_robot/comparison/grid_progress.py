"""How far a grid is, and how long it will still take: a line and a file.

The time left is that of the runs that are missing, stage by stage, from the wall time of those that
are finished. Collecting demonstrations is paid for once an environment and embedding them once an
encoder, so a run that finds them made is expected to take no longer there than the quickest did.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from egodtm_robot.comparison.cells import Cell
from egodtm_robot.core.progress import StatusLine, format_eta
from egodtm_robot.core.storage.atomic_files import write_atomically

PROGRESS_FILE = "progress.json"
"""In the folder of a grid: how far it is."""

Timings = Mapping[str, float]
"""Wall seconds of a run's stages, by their names."""

_SHARED: Mapping[str, Callable[[Cell], tuple[str, ...]]] = {
    "collect": lambda cell: (cell.protocol, cell.environment),
    "embed": lambda cell: (cell.protocol, cell.environment, cell.row.encoder),
}
"""Stages whose work is done once for all runs that agree in these."""

_ALIKE: Sequence[Callable[[Cell], tuple[str, ...]]] = (
    lambda cell: (cell.protocol, cell.row.name, cell.environment),
    lambda cell: (cell.protocol, cell.row.name),
    lambda cell: (cell.protocol,),
    lambda cell: (),
)
"""What runs of about the same length agree in, the closest first."""


@dataclass(frozen=True)
class FailedCell:
    """A run that failed.

    Attributes:
        name: of the run.
        log: its output.
    """

    name: str
    log: Path


@dataclass
class GridProgress:
    """How far a grid is.

    Attributes:
        left: runs that are neither finished nor failed nor under way, in their order.
        parallel: runs at a time.
        folder: gets :data:`PROGRESS_FILE`.
        stream: gets the line; standard error by default.
        finished: stages of the finished runs.
        running: runs under way, with the time (of ``time.monotonic``) at which they began.
        failed: runs that failed.
    """

    left: list[Cell]
    parallel: int
    folder: Path
    stream: TextIO | None = None
    finished: dict[Cell, Timings] = field(default_factory=dict)
    running: dict[Cell, float] = field(default_factory=dict)
    failed: dict[Cell, FailedCell] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._line = StatusLine(self.stream)

    def begin(self, cell: Cell) -> None:
        """A run begins, perhaps once more, since its worker has died."""
        if cell in self.left:
            self.left.remove(cell)
        self.running[cell] = time.monotonic()
        self._show(f"{_short(cell)} began", ended=False)

    def finish(self, cell: Cell, timings: Timings) -> None:
        """A run has ended well."""
        seconds = time.monotonic() - self.running.pop(cell)
        # Imports, and making the environments, belong to no stage.
        rest = max(0.0, seconds - sum(timings.values()))
        self.finished[cell] = {**timings, "rest": rest}
        self._show(f"{_short(cell)} finished")

    def fail(self, cell: Cell, failure: FailedCell) -> None:
        """A run has failed."""
        self.running.pop(cell)
        self.failed[cell] = failure
        self._show(f"{_short(cell)} failed")

    def drop(self, cells: Iterable[Cell]) -> None:
        """Runs will not be needed, since their comparison is decided."""
        dropped = set(cells)
        self.left = [cell for cell in self.left if cell not in dropped]
        self._write()

    @property
    def total(self) -> int:
        """Runs of the whole grid."""
        return len(self.left) + len(self.running) + len(self.failed) + len(self.finished)

    def seconds_left(self) -> float | None:
        """Wall seconds until nothing is missing; None while nothing is known."""
        now = time.monotonic()
        expected = [
            (expected_seconds(cell, self.finished), now - began)
            for cell, began in self.running.items()
        ] + [(expected_seconds(cell, self.finished), 0.0) for cell in self.left]
        known = [max(0.0, seconds - spent) for seconds, spent in expected if seconds is not None]
        if len(known) < len(expected):
            return None
        return max(sum(known) / self.parallel, max(known, default=0.0))

    def to_json(self) -> dict[str, object]:
        """What :data:`PROGRESS_FILE` holds."""
        now = time.monotonic()
        stages: dict[str, list[float]] = {}
        for timings in self.finished.values():
            for stage, seconds in timings.items():
                stages.setdefault(stage, []).append(seconds)
        left = self.seconds_left()
        return {
            "version": 1,
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
            "total": self.total,
            "finished": len(self.finished),
            "waiting": len(self.left),
            "running": [
                {"run": _short(cell), "seconds": round(now - began, 1)}
                for cell, began in self.running.items()
            ],
            "failed": [{"run": f.name, "log": str(f.log)} for f in self.failed.values()],
            "seconds_left": None if left is None else round(left, 1),
            "mean_seconds": {s: round(sum(v) / len(v), 2) for s, v in stages.items()},
        }

    def _show(self, event: str, ended: bool = True) -> None:
        text = f"benchmark {len(self.finished):>5}/{self.total} runs  {len(self.running)} running"
        if self.failed:
            text += f"  {len(self.failed)} failed"
        over = not self.running and not self.left
        # A log needs no line for what only begins.
        if ended or self._line.in_place:
            self._line.write(f"{text}  {format_eta(self.seconds_left())}  {event}", last=over)
        self._write()

    def _write(self) -> None:
        write_atomically(
            self.folder / PROGRESS_FILE, f"{json.dumps(self.to_json(), indent=2)}\n".encode()
        )


def expected_seconds(cell: Cell, finished: Mapping[Cell, Timings]) -> float | None:
    """Wall seconds that a run is expected to take.

    Args:
        cell: the run.
        finished: stages of the runs that are finished.

    Returns:
        The sum over the stages that finished runs have had; None while there are none.
    """
    if not finished:
        return None
    total = 0.0
    for stage in dict.fromkeys(name for timings in finished.values() for name in timings):
        known = {one: timings[stage] for one, timings in finished.items() if stage in timings}
        if stage in _SHARED:
            total += _once(cell, known, _SHARED[stage])
        else:
            total += _as_alike(cell, known)
    return total


def _once(cell: Cell, known: Mapping[Cell, float], key: Callable[[Cell], tuple[str, ...]]) -> float:
    groups: dict[tuple[str, ...], list[float]] = {}
    for one, seconds in known.items():
        groups.setdefault(key(one), []).append(seconds)
    made = groups.get(key(cell))
    if made is not None:
        return min(made)
    firsts = [max(seconds) for seconds in groups.values()]
    return sum(firsts) / len(firsts)


def _as_alike(cell: Cell, known: Mapping[Cell, float]) -> float:
    for key in _ALIKE:
        alike = [seconds for one, seconds in known.items() if key(one) == key(cell)]
        if alike:
            return sum(alike) / len(alike)
    return 0.0


def _short(cell: Cell) -> str:
    return f"{cell.row.name} on {cell.environment}, seed {cell.seed}, {cell.protocol}"
