"""What the folders of runs hold beyond the episodes: results, settings and films."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from egodtm_robot.comparison.arms import Arm
from egodtm_robot.core.run_folder import CONFIG_FILE
from egodtm_robot.evaluation.outcomes import Outcome
from egodtm_robot.evaluation.results import RESULTS_FILE, FinishedRun, RunResults


@dataclass(frozen=True)
class RunRecord:
    """A finished run of the main job in its folder.

    Attributes:
        folder: of the run.
        results: the content of ``results.json``.
        outcomes: of its final episodes; none for a run of before outcomes were written.
        settings: the content of ``config.yaml``; empty if it cannot be read.
    """

    folder: Path
    results: RunResults
    outcomes: tuple[Outcome, ...]
    settings: dict[str, Any]


def read_records(arms: Sequence[Arm]) -> dict[str, tuple[RunRecord, ...]]:
    """The records of each arm's runs, by the arm's name.

    Runs that were read from a file of rows have none.

    Raises:
        ResultsError: a run's results cannot be read.
        OutcomesError: a run's outcomes cannot be read.
    """
    return {
        arm.name: tuple(
            _read(folder)
            # A run under several conditions is one record.
            for folder in dict.fromkeys(run.source for run in arm.runs)
            if folder is not None and (folder / RESULTS_FILE).is_file()
        )
        for arm in arms
    }


def _read(folder: Path) -> RunRecord:
    run = FinishedRun.load(folder)
    try:
        settings = yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        settings = None
    return RunRecord(
        folder, run.results, run.outcomes or (), settings if isinstance(settings, dict) else {}
    )
