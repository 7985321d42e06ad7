"""The benchmark's table: success of every encoder on every task, with honest intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from egodtm_robot.core.statistics import (
    Estimate,
    bootstrap_difference,
    bootstrap_success_rate,
    wilson_interval,
)
from egodtm_robot.report import RunResults

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
        reference: the encoder that the others are compared with.
    """

    encoders: tuple[str, ...]
    tasks: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    means: Mapping[str, Estimate]
    versus: Mapping[str, Estimate]
    reference: str

    @classmethod
    def from_results(
        cls,
        encoders: Sequence[str],
        tasks: Sequence[str],
        results: Mapping[tuple[str, str], Sequence[RunResults]],
        reference: str,
    ) -> "BenchmarkTable":
        """Builds the table of the finished runs.

        Args:
            encoders: row names, top first.
            tasks: column names.
            results: finished runs by (encoder, task).
            reference: the encoder that the others are compared with.
        """
        cells: dict[tuple[str, str], Cell] = {}
        outcomes: dict[str, list[np.ndarray]] = {}
        for encoder in encoders:
            by_seed: dict[int, list[np.ndarray]] = {}
            for task in tasks:
                runs = results.get((encoder, task), ())
                if not runs:
                    continue
                finals = [run.final for run in runs]
                cells[encoder, task] = Cell(
                    sum(final["episodes"] for final in finals),
                    sum(final["successes"] for final in finals),
                    tuple(final["success_rate"] for final in finals),
                )
                for run in runs:
                    by_seed.setdefault(run.seed, []).append(_outcomes(run.final))
            complete = [
                np.concatenate(parts) for parts in by_seed.values() if len(parts) == len(tasks)
            ]
            if complete:
                outcomes[encoder] = complete
        means = {
            encoder: bootstrap_success_rate(sets, np.random.default_rng(_BOOTSTRAP_SEED))
            for encoder, sets in outcomes.items()
        }
        versus = {
            encoder: bootstrap_difference(
                sets, outcomes[reference], np.random.default_rng(_BOOTSTRAP_SEED)
            )
            for encoder, sets in outcomes.items()
            if reference in outcomes and encoder != reference
        }
        return cls(tuple(encoders), tuple(tasks), cells, means, versus, reference)

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
            row.append(_percent(self.versus.get(encoder), sign=True))
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
                }
                for encoder in self.encoders
            },
        }


def _outcomes(final: Mapping[str, Any]) -> np.ndarray:
    outcomes = np.zeros(final["episodes"], dtype=bool)
    outcomes[: final["successes"]] = True
    return outcomes


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
