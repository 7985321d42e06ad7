"""Outcomes of many runs in one file, ours or anyone's: ``.csv`` or ``.csv.gz``.

A row is an episode. Required are ``success`` and ``episode_seed`` or ``episode``, which identifies
the episode; ``arm``, ``encoder`` or ``method`` says which arm it belongs to. All columns, and what
is assumed where one is missing, are listed in docs/guide/comparing.md; others are passed over. What
:func:`write_outcomes_csv` writes, ``pandas.read_csv`` reads, and the same arms give the same bytes.
"""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from egodtm_robot.comparison.arms import Arm, Condition, RunEpisodes
from egodtm_robot.comparison.provenance import Provenance
from egodtm_robot.core.seeding import hashed_seed
from egodtm_robot.core.storage.atomic_files import write_atomically
from egodtm_robot.evaluation.outcomes import VERSION, OutcomesError

_ARM = ("arm", "encoder", "method")
_EPISODE = ("episode_seed", "episode")
_RUN = ("run_seed", "seed")
_ENVIRONMENT = ("environment", "task")

_COLUMNS = (
    "version",
    "arm",
    "protocol",
    "settings",
    "toolkit",
    "simulator",
    "environment",
    "look",
    "resets",
    "scene",
    "run_seed",
    "episode_seed",
    "success",
    "solved_step",
    "progress",
    "steps",
    "checkpoint_maximum",
)

_SUCCESS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}

Row = Mapping[str, str]


def read_outcomes_csv(path: Path) -> tuple[Arm, ...]:
    """The arms of a file, in order of their first rows; see the module for its columns.

    Raises:
        OutcomesError: the file cannot be read, lacks a required column or any rows, has an episode
            twice, or a value that does not fit.
    """
    rows = _rows(path)
    columns = tuple(rows[0])
    arm_column = _first(columns, _ARM)
    grouped: dict[str, dict[tuple[Condition, int], list[tuple[int, Row]]]] = {}
    for number, row in enumerate(rows, start=2):
        place = _Place(path, number)
        arm = _stem(path) if arm_column is None else row[arm_column].strip()
        if not arm:
            raise place.error(f"a name in {arm_column}", "none")
        key = (_condition(row, columns), _run_seed(row, columns, place))
        grouped.setdefault(arm, {}).setdefault(key, []).append((number, row))
    return tuple(
        Arm(
            name,
            tuple(
                _run(path, name, condition, seed, of_run, columns)
                for (condition, seed), of_run in sorted(runs.items(), key=lambda item: item[0])
            ),
        )
        for name, runs in grouped.items()
    )


def write_outcomes_csv(path: Path, arms: Sequence[Arm]) -> None:
    """Write the outcomes of arms to one file, which appears whole or not at all.

    Args:
        path: ends in ``.csv``, or in ``.csv.gz`` for a compressed file; its folder is made.
        arms: whose outcomes.

    Raises:
        OutcomesError: the path has another ending.
    """
    if not path.name.endswith((".csv", ".csv.gz")):
        raise OutcomesError(f"Expected a name that ends in .csv or .csv.gz, got {path}.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for arm in arms:
        for run in sorted(arm.runs, key=lambda run: (run.condition, run.run_seed)):
            writer.writerows(_written(arm.name, run))
    content = text.getvalue().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".gz"):
        # Without the time and the name that gzip would write, so that the bytes follow from the
        # rows.
        content = gzip.compress(content, compresslevel=9, mtime=0)
    write_atomically(path, content)


@dataclass(frozen=True)
class _Place:
    """A line of a file, for messages."""

    path: Path
    line: int

    def error(self, expected: str, got: object) -> OutcomesError:
        return OutcomesError(
            f"Expected {expected}, got {got} in line {self.line} of {self.path}. Put the file "
            "right; docs/guide/comparing.md lists the columns."
        )


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        content = path.read_bytes()
        if path.name.endswith(".gz"):
            content = gzip.decompress(content)
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        rows = [dict(row) for row in reader]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise OutcomesError(f"Expected rows of outcomes in {path}, cannot read it: {error}.") from (
            error
        )
    columns = reader.fieldnames or ()
    missing = [] if "success" in columns else ["success"]
    missing += [] if _first(columns, _EPISODE) else [" or ".join(_EPISODE)]
    if missing:
        raise OutcomesError(
            f"Expected a column {' and a column '.join(missing)} in {path}, got "
            f"{', '.join(columns) or 'none'}. Name the columns in the first line; "
            "docs/guide/comparing.md lists them."
        )
    if not rows:
        raise OutcomesError(f"Expected a row for each episode in {path}, got none.")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise _Place(path, number).error(f"{len(columns)} values", "more or fewer")
        version = row.get("version", "")
        if version and version != str(VERSION):
            raise _Place(path, number).error(f"version {VERSION}", repr(version))
    return rows


def _first(columns: Iterable[str], names: Sequence[str]) -> str | None:
    there = set(columns)
    return next((name for name in names if name in there), None)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".csv")


def _condition(row: Row, columns: Sequence[str]) -> Condition:
    environment = _first(columns, _ENVIRONMENT)
    return Condition(
        "" if environment is None else row[environment].strip(),
        row.get("look", "").strip(),
        row.get("resets", "").strip(),
    )


def _run_seed(row: Row, columns: Sequence[str], place: _Place) -> int:
    column = _first(columns, _RUN)
    if column is None:
        return 0
    seed = _number(row[column])
    if not seed.is_integer() or seed < 0:
        raise place.error(f"a whole number of at least 0 in {column}", repr(row[column]))
    return int(seed)


def _run(
    path: Path,
    arm: str,
    condition: Condition,
    run_seed: int,
    rows: Sequence[tuple[int, Row]],
    columns: Sequence[str],
) -> RunEpisodes:
    column = _first(columns, _EPISODE)
    assert column is not None
    episodes = _episode_seeds(path, column, rows)
    order = np.arange(len(rows)) if episodes is None else np.argsort(episodes, kind="stable")
    ordered = [rows[index] for index in order]
    if episodes is not None:
        episodes = episodes[order]
        twice = np.flatnonzero(np.diff(episodes) == 0)
        if len(twice):
            number, row = ordered[int(twice[0]) + 1]
            raise _Place(path, number).error(
                f"each episode of {arm}, run seed {run_seed}, once", f"{row[column]!r} again"
            )
    return RunEpisodes(
        condition=condition,
        run_seed=run_seed,
        episode_seeds=episodes,
        success=np.array([_success(path, *entry) for entry in ordered], bool),
        progress=_values(path, "progress", ordered, columns, 1.0),
        solved_step=_solved_steps(path, ordered, columns),
        steps=_whole(_values(path, "steps", ordered, columns, math.inf)),
        source=path,
        provenance=_provenance(path, ordered),
        scene=_scene(path, ordered),
        checkpoint_maximum=_checkpoint_maximum(path, ordered, columns),
    )


def _episode_seeds(
    path: Path, column: str, rows: Sequence[tuple[int, Row]]
) -> NDArray[np.int64] | None:
    texts = [row[column].strip() for _, row in rows]
    if not any(texts):
        return None
    if not all(texts):
        number = rows[texts.index("")][0]
        raise _Place(path, number).error(f"an episode in {column} as in the run's others", "none")
    seeds = []
    for text in texts:
        value = _number(text)
        whole = value.is_integer() and abs(value) < 2**53
        # Names of episodes as well as numbers: the same name is the same episode in every file.
        seeds.append(int(value) if whole else hashed_seed(text.encode()))
    return np.array(seeds, np.int64)


def _success(path: Path, number: int, row: Row) -> bool:
    text = row["success"].strip().lower()
    if text not in _SUCCESS:
        raise _Place(path, number).error("success 1 or 0, True or False", repr(row["success"]))
    return _SUCCESS[text]


def _values(
    path: Path,
    column: str,
    rows: Sequence[tuple[int, Row]],
    columns: Sequence[str],
    greatest: float,
) -> NDArray[np.float64] | None:
    """Numbers of a column that a run has in all rows or in none."""
    if column not in columns or not any(row[column].strip() for _, row in rows):
        return None
    values = []
    for number, row in rows:
        value = _number(row[column])
        if not 0 <= value <= greatest:
            limit = "at least 0" if math.isinf(greatest) else f"from 0 to {greatest:g}"
            raise _Place(path, number).error(f"{column} {limit}", repr(row[column]))
        values.append(value)
    return np.array(values, np.float64)


def _solved_steps(
    path: Path, rows: Sequence[tuple[int, Row]], columns: Sequence[str]
) -> NDArray[np.float64] | None:
    if "solved_step" not in columns:
        return None
    values = []
    for number, row in rows:
        text = row["solved_step"].strip()
        value = _number(text)
        if text.lower() not in ("", "nan") and not value >= 0:
            raise _Place(path, number).error("solved_step at least 0 or empty", repr(text))
        values.append(value)
    if np.isnan(values).all() and any(_success(path, *entry) for entry in rows):
        return None  # what was solved has a step
    return np.array(values, np.float64)


def _whole(values: NDArray[np.float64] | None) -> NDArray[np.int64] | None:
    return None if values is None else values.astype(np.int64)


def _provenance(path: Path, rows: Sequence[tuple[int, Row]]) -> Provenance | None:
    found = {
        tuple(
            row.get(name, "").strip() for name in ("protocol", "settings", "toolkit", "simulator")
        )
        for _, row in rows
    }
    if len(found) > 1:
        raise _Place(path, rows[0][0]).error("one protocol and toolkit a run", sorted(found))
    (values,) = found
    return Provenance(*values) if any(values) else None


def _scene(path: Path, rows: Sequence[tuple[int, Row]]) -> str:
    found = {row.get("scene", "").strip() for _, row in rows}
    if len(found) > 1:
        raise _Place(path, rows[0][0]).error("one scene a run and condition", sorted(found))
    return found.pop()


def _checkpoint_maximum(
    path: Path, rows: Sequence[tuple[int, Row]], columns: Sequence[str]
) -> float | None:
    values = _values(path, "checkpoint_maximum", rows, columns, 1.0)
    return None if values is None else float(values[0])


def _number(text: str) -> float:
    """The number that a text stands for; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _plain(number: float) -> float:
    return int(number) if number.is_integer() else number


def _written(arm: str, run: RunEpisodes) -> Iterable[Sequence[object]]:
    provenance = run.provenance or Provenance("")
    for index, success in enumerate(run.success):
        solved = None if run.solved_step is None else float(run.solved_step[index])
        yield [
            VERSION,
            arm,
            provenance.protocol,
            provenance.settings,
            provenance.toolkit,
            provenance.simulator,
            run.condition.environment,
            run.condition.look,
            run.condition.resets,
            run.scene,
            run.run_seed,
            "" if run.episode_seeds is None else int(run.episode_seeds[index]),
            bool(success),
            "" if solved is None or math.isnan(solved) else _plain(solved),
            "" if run.progress is None else float(run.progress[index]),
            "" if run.steps is None else int(run.steps[index]),
            "" if run.checkpoint_maximum is None else run.checkpoint_maximum,
        ]
