"""A finished evaluation, read from its folder."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egodtm_robot.core.run_folder import RESULTS_FILE
from pretrain.evaluate.outcomes import read_outcomes
from pretrain.evaluate.task import EvaluationDataError

_NEEDED = ("model", "data", "loader", "tasks")


@dataclass(frozen=True)
class FinishedTask:
    """What a task found.

    Attributes:
        headline: name of the column that its headline is the mean of.
        numbers: names of its numbers.
        facts: what they rest on.
        measured_as: version and options of the task.
        file: of its outcomes.
        rows: of its outcomes, as texts.
    """

    headline: str
    numbers: tuple[str, ...]
    facts: Mapping[str, Any]
    measured_as: Mapping[str, Any]
    file: Path
    rows: list[dict[str, str]]

    def column(self, name: str) -> list[float] | None:
        """What each row adds to a number, NaN where it does not count; None without such rows.

        Raises:
            EvaluationDataError: a cell holds something else than a finite number.
        """
        if not self.rows or name not in self.rows[0]:
            return None
        values = []
        for line, row in enumerate(self.rows, start=2):
            try:
                values.append(_number(row[name]))
            except ValueError:
                raise EvaluationDataError(
                    f"Expected finite numbers, or nothing, in column {name} of {self.file}, got "
                    f"{row[name]!r} in line {line}. Start the evaluation again; what it has "
                    "measured is kept."
                ) from None
        return values


@dataclass(frozen=True)
class FinishedEvaluation:
    """A model's evaluation.

    Attributes:
        path: folder of the run.
        model: name and fingerprint.
        selection: fingerprint of the clips.
        loader: its settings, with its name.
        tasks: by their names; those without rows are left out.
    """

    path: Path
    model: Mapping[str, str]
    selection: str
    loader: Mapping[str, Any]
    tasks: Mapping[str, FinishedTask]

    @property
    def loader_settings(self) -> dict[str, Any]:
        """All settings of the loader but its name."""
        return {name: value for name, value in self.loader.items() if name != "name"}


def read_evaluation(path: Path) -> FinishedEvaluation:
    """Read what ``python -m pretrain.evaluate`` wrote.

    Raises:
        EvaluationDataError: there is no finished evaluation, or one of an earlier version.
    """
    file = path / RESULTS_FILE
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EvaluationDataError(
            f"Expected the folder of a finished evaluation, with {RESULTS_FILE}, got {path}. Name "
            "what python -m pretrain.evaluate wrote (its run_dir)."
        ) from None
    except (OSError, ValueError) as error:
        raise EvaluationDataError(
            f"Expected the results of an evaluation in {file}, got something else: {error}."
        ) from error
    if not isinstance(results, dict) or not {"model", "data", "tasks"} <= results.keys():
        raise EvaluationDataError(
            f"Expected the results of python -m pretrain.evaluate in {file}, got those of "
            "another command."
        )
    if "loader" not in results or "selection" not in results["data"]:
        raise EvaluationDataError(
            f"Expected results that name their loader and clips in {file}, which an earlier "
            "version wrote. Start the evaluation again; what it has measured is kept."
        )
    try:
        return FinishedEvaluation(
            path=path,
            model={name: str(results["model"][name]) for name in ("name", "fingerprint")},
            selection=results["data"]["selection"],
            loader={"name": results["loader"]["name"], **results["loader"]},
            tasks={
                name: FinishedTask(
                    headline=found["headline"]["name"],
                    numbers=tuple(found["numbers"]),
                    facts=dict(found["facts"]),
                    measured_as={"version": found["version"], **found["options"]},
                    file=path / found["outcomes"],
                    rows=read_outcomes(path / found["outcomes"]),
                )
                for name, found in results["tasks"].items()
                if found["outcomes"] is not None
            },
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, EvaluationDataError):
            raise
        raise EvaluationDataError(
            f"Expected whole results of python -m pretrain.evaluate in {file}, got some without "
            f"what they need or in another form ({error!r}). Start the evaluation again; what it "
            "has measured is kept."
        ) from error


def _number(text: str | None) -> float:
    """What a cell holds; NaN of an empty one, which does not count.

    Raises:
        ValueError: it is no finite number.
    """
    if text in ("True", "False"):
        return float(text == "True")
    if text == "":
        return math.nan
    value = math.nan if text is None else float(text)  # a short line has no such cell
    if not math.isfinite(value):
        raise ValueError(text)
    return value
