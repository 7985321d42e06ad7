"""One row for each question that a model was asked: ``outcomes/<task>.csv`` beside the results.

Statistics read these rows and never totals. Two models that were measured on the same clips are
paired row by row, by ``item``; rows of one ``video`` are not independent of each other. The mean of
a column that bears the name of a number is that number; empty cells do not count. Where a number is
a mean over classes or directions, its rows are weighed. The files open with ``pandas.read_csv``.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from egodtm_robot.core.run_folder import json_values
from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.evaluate.task import EvaluationDataError, Scores

VERSION = 2
"""The first column of every row; raised whenever an older reader would misread the others."""


def outcomes_file(task: str) -> str:
    """The path of a task's rows below the run's folder."""
    return f"outcomes/{task}.csv"


def write_outcomes(run_dir: Path, scores: Mapping[str, Scores | None]) -> None:
    """Write the rows of each task atomically, in the order of items; an unknown number is empty."""
    for name, found in scores.items():
        if found is not None and found.outcomes:
            path = run_dir / outcomes_file(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, _table(found.outcomes).encode())


def read_outcomes(path: Path) -> list[dict[str, str]]:
    """The rows of a file that :func:`write_outcomes` wrote, as texts.

    Raises:
        EvaluationDataError: there is no such file, or one of another form or version.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationDataError(
            f"Expected the rows of a finished evaluation in {path}, got none: {error}."
        ) from error
    versions = {row.get("version") for row in rows}
    if versions != {str(VERSION)} or not {"item", "video"} <= rows[0].keys():
        raise EvaluationDataError(
            f"Expected rows of version {VERSION} with item and video in {path}, got "
            f"{sorted(map(str, versions)) or 'none'}. Start the evaluation again; what it has "
            "measured is kept."
        )
    return rows


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["version", *rows[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"version": VERSION, **json_values(row)} for row in rows)
    return buffer.getvalue()
