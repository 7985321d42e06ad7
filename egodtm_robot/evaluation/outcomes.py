"""One row for each episode that a policy was evaluated on: ``outcomes.csv``.

Statistics read these rows and never totals. Two runs are compared on the episodes that they share,
which only rows can say. The file opens with ``pandas.read_csv``.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from egodtm_robot.core.errors import EgoDTMRobotError
from egodtm_robot.core.storage.atomic_files import write_atomically
from egodtm_robot.evaluation.rollouts import EpisodeResult

OUTCOMES_FILE = "outcomes.csv"
VERSION = 1
"""The first column of every row; raised whenever an older reader would misread the others."""


class OutcomesError(EgoDTMRobotError, ValueError):
    """A file of outcomes is missing, unreadable or of another version."""


@dataclass(frozen=True)
class Outcome:
    """How one episode of an evaluation went.

    Attributes:
        environment: its name, such as ``franka_kitchen_microwave``.
        task: what was to be done.
        look: name of the visual preset.
        resets: name of the preset of resets.
        run_seed: seed of the training run whose policy acted.
        episode_seed: seed that the episode was reset with. Two runs that share it, the environment,
            the look and the resets met the same episode.
        success: by the environment's rule.
        solved_step: steps after which the task was first solved; None if it never was.
        solved_steps: steps after which the task was solved.
        progress: the largest progress towards the goal, in [0, 1]; None where the environment
            reports none.
        steps: taken.
        film: number of the episode in the run's films; None if it was not filmed.
    """

    environment: str
    task: str
    look: str
    resets: str
    run_seed: int
    episode_seed: int
    success: bool
    solved_step: int | None
    solved_steps: int
    progress: float | None
    steps: int
    film: int | None = None


def outcomes_of(
    episodes: Iterable[EpisodeResult],
    *,
    environment: str,
    task: str,
    look: str,
    resets: str,
    run_seed: int,
    filmed: Sequence[int] = (),
) -> tuple[Outcome, ...]:
    """The rows of an evaluation.

    Args:
        episodes: results of :func:`egodtm_robot.evaluation.rollouts.evaluate`.
        environment: see :class:`Outcome`, also for the next four.
        task: what was to be done.
        look: name of the visual preset.
        resets: name of the preset of resets.
        run_seed: of the training run.
        filmed: seeds of the filmed episodes, in the films' order.
    """
    numbers = {seed: number for number, seed in enumerate(filmed)}
    return tuple(
        Outcome(
            environment=environment,
            task=task,
            look=look,
            resets=resets,
            run_seed=run_seed,
            episode_seed=episode.seed,
            success=episode.success,
            solved_step=episode.solved_step,
            solved_steps=episode.solved_steps,
            progress=episode.progress,
            steps=episode.steps,
            film=numbers.get(episode.seed),
        )
        for episode in episodes
    )


def write_outcomes(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write the rows; the file appears whole or not at all."""
    names = [field.name for field in fields(Outcome)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["version", *names])
    for outcome in outcomes:
        values = [getattr(outcome, name) for name in names]
        writer.writerow([VERSION, *("" if value is None else value for value in values)])
    write_atomically(path, text.getvalue().encode())


def read_outcomes(path: Path) -> tuple[Outcome, ...]:
    """Read what :func:`write_outcomes` wrote.

    Raises:
        OutcomesError: the file is missing, damaged or of another version.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    except (OSError, UnicodeDecodeError) as error:
        raise OutcomesError(f"Expected outcomes in {path}, cannot read it: {error}.") from error
    try:
        return tuple(_outcome(row) for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise OutcomesError(
            f"Expected rows of outcomes, version {VERSION}, in {path}, got one that does not fit: "
            f"{type(error).__name__} {error}. Evaluate the policy again, or read the file with the "
            "version of the toolkit that wrote it."
        ) from error


def _outcome(row: dict[str, Any]) -> Outcome:
    if int(row["version"]) != VERSION:
        raise ValueError(f"version {row['version']}")
    if row["success"] not in ("True", "False"):
        raise ValueError(f"success {row['success']!r}")

    def number(name: str) -> int | None:
        return int(row[name]) if row[name] else None

    return Outcome(
        environment=row["environment"],
        task=row["task"],
        look=row["look"],
        resets=row["resets"],
        run_seed=int(row["run_seed"]),
        episode_seed=int(row["episode_seed"]),
        success=row["success"] == "True",
        solved_step=number("solved_step"),
        solved_steps=int(row["solved_steps"]),
        progress=float(row["progress"]) if row["progress"] else None,
        steps=int(row["steps"]),
        film=number("film"),
    )
