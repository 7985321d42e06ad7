"""The benchmark's table: success of every encoder on every task, with honest intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from egodtm_robot.core.intervals import (
    Estimate,
    bootstrap_difference,
    bootstrap_paired_difference,
    bootstrap_success_rate,
    wilson_interval,
)
from egodtm_robot.evaluation.results import FinishedRun

_BOOTSTRAP_SEED = 20_260_101


@dataclass(frozen=True)
class Cell:
    """One encoder on one task over all finished training seeds.

    Attributes:
        episodes: final episodes over the seeds.
        successes: of them.
        rates: success rate of each seed.
    """

    episodes: int
    successes: int
    rates: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Success rate over all episodes."""
        return self.successes / self.episodes

    def to_markdown(self) -> str:
        """``62 [55, 69]``: percent with the Wilson 95 % interval over episodes."""
        low, high = wilson_interval(self.successes, self.episodes)
        return f"{100 * self.rate:.0f} [{100 * low:.0f}, {100 * high:.0f}]"


@dataclass(frozen=True)
class BenchmarkTable:
    """Encoders in rows, tasks in columns, a mean with a bootstrap interval at the end.

    Attributes:
        encoders: row names, top first.
        tasks: column names.
        cells: by (encoder, task); absent where no run is finished.
        means: mean over tasks by encoder, where every task has a cell. The interval comes from a
            hierarchical bootstrap over training seeds and episodes.
        versus: difference of each encoder's mean to the reference's.
        paired: encoders whose difference was taken episode by episode, on the training seeds and
            episodes that they share with the reference. The others lack rows of outcomes, or share
            none; their difference is as uncertain as that of two separate experiments.
        reference: the encoder that the others are compared with.
    """

    encoders: tuple[str, ...]
    tasks: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    means: Mapping[str, Estimate]
    versus: Mapping[str, Estimate]
    paired: frozenset[str]
    reference: str

    @classmethod
    def from_runs(
        cls,
        encoders: Sequence[str],
        tasks: Sequence[str],
        runs: Mapping[tuple[str, str], Sequence[FinishedRun]],
        reference: str,
    ) -> "BenchmarkTable":
        """Builds the table of the finished runs.

        Args:
            encoders: row names, top first.
            tasks: column names.
            runs: finished runs by (encoder, task).
            reference: the encoder that the others are compared with.
        """
        cells: dict[tuple[str, str], Cell] = {}
        complete: dict[str, dict[int, list[FinishedRun]]] = {}
        for encoder in encoders:
            by_seed: dict[int, list[FinishedRun]] = {}
            for task in tasks:
                finished = runs.get((encoder, task), ())
                if not finished:
                    continue
                finals = [run.results.final for run in finished]
                cells[encoder, task] = Cell(
                    sum(final["episodes"] for final in finals),
                    sum(final["successes"] for final in finals),
                    tuple(final["success_rate"] for final in finals),
                )
                for run in finished:
                    by_seed.setdefault(run.results.seed, []).append(run)
            whole = {seed: found for seed, found in by_seed.items() if len(found) == len(tasks)}
            if whole:
                complete[encoder] = whole
        successes = {
            encoder: [
                np.concatenate([_successes(run) for run in found]) for found in whole.values()
            ]
            for encoder, whole in complete.items()
        }
        means = {
            encoder: bootstrap_success_rate(sets, np.random.default_rng(_BOOTSTRAP_SEED))
            for encoder, sets in successes.items()
        }
        versus: dict[str, Estimate] = {}
        paired = set()
        for encoder in complete:
            if encoder == reference or reference not in complete:
                continue
            generator = np.random.default_rng(_BOOTSTRAP_SEED)
            differences = _paired_differences(complete[encoder], complete[reference])
            if differences is None:
                versus[encoder] = bootstrap_difference(
                    successes[encoder], successes[reference], generator
                )
            else:
                versus[encoder] = bootstrap_paired_difference(differences, generator)
                paired.add(encoder)
        return cls(
            tuple(encoders), tuple(tasks), cells, means, versus, frozenset(paired), reference
        )

    def to_markdown(self) -> str:
        """The table as Markdown, percent with 95 % intervals."""
        head = ["encoder", *(task.replace("_", " ") for task in self.tasks), "mean"]
        head.append(f"difference to `{self.reference}`")
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for encoder in self.encoders:
            row = [f"`{encoder}`"]
            for task in self.tasks:
                cell = self.cells.get((encoder, task))
                row.append(cell.to_markdown() if cell else "")
            row.append(_percent(self.means.get(encoder)))
            difference = _percent(self.versus.get(encoder), sign=True)
            if encoder in self.versus and encoder not in self.paired:
                difference += " (unpaired)"
            row.append(difference)
            lines.append("| " + " | ".join(row) + " |")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Everything in the table as plain numbers."""
        return {
            "tasks": list(self.tasks),
            "reference": self.reference,
            "encoders": {
                encoder: {
                    "tasks": {
                        task: {
                            "episodes": cell.episodes,
                            "successes": cell.successes,
                            "success_rate": cell.rate,
                            "wilson95": list(wilson_interval(cell.successes, cell.episodes)),
                            "seed_rates": list(cell.rates),
                        }
                        for task in self.tasks
                        if (cell := self.cells.get((encoder, task))) is not None
                    },
                    "mean": _plain(self.means.get(encoder)),
                    "difference": _plain(self.versus.get(encoder)),
                    "paired": encoder in self.paired,
                }
                for encoder in self.encoders
            },
        }


def _successes(run: FinishedRun) -> np.ndarray:
    """Success of each final episode, bool (episodes,), in an order that means nothing."""
    final = run.results.final
    successes = np.zeros(final["episodes"], dtype=bool)
    successes[: final["successes"]] = True
    return successes


def _paired_differences(
    first: Mapping[int, Sequence[FinishedRun]], second: Mapping[int, Sequence[FinishedRun]]
) -> list[list[np.ndarray]] | None:
    """Differences of success on shared episodes by training seed and task.

    Args:
        first: runs by training seed, in the order of tasks.
        second: likewise.

    Returns:
        int (episodes,) for each shared training seed, for each task; None unless both have the same
        training seeds and rows of outcomes on the same episodes.
    """
    if first.keys() != second.keys():
        return None
    differences = []
    for seed in first:
        tasks = []
        for one, other in zip(first[seed], second[seed], strict=True):
            if one.outcomes is None or other.outcomes is None:
                return None
            ours, theirs = (
                {
                    (row.environment, row.look, row.resets, row.episode_seed): row.success
                    for row in rows
                }
                for rows in (one.outcomes, other.outcomes)
            )
            if ours.keys() != theirs.keys():
                return None
            tasks.append(np.array([int(ours[key]) - int(theirs[key]) for key in sorted(ours)]))
        differences.append(tasks)
    return differences


def _percent(estimate: Estimate | None, sign: bool = False) -> str:
    if estimate is None:
        return ""
    low, high = estimate.interval
    form = "+.0f" if sign else ".0f"
    return f"{100 * estimate.value:{form}} [{100 * low:{form}}, {100 * high:{form}}]"


def _plain(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {"value": estimate.value, "interval95": list(estimate.interval)}
