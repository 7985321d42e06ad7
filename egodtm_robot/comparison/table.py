"""The benchmark's table: a row for each encoder of the grid, compared with one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from egodtm_robot.comparison.arms import (
    CONDITION_PARTS,
    Arm,
    align_arms,
    make_arm,
    met_several,
    split_arms,
)
from egodtm_robot.comparison.comparison import Cell, Comparison, compare_arms
from egodtm_robot.comparison.run_folders import episodes_of
from egodtm_robot.evaluation.results import FinishedRun


@dataclass(frozen=True)
class BenchmarkTable:
    """The rows of a grid, finished or not, and the comparison of those that are.

    Attributes:
        encoders: names of the grid's rows, in its order.
        tasks: names of the environments, in its order.
        comparison: of the rows that have finished runs. Those that lack a condition have cells and
            no mean. None while no run is finished.
        unfinished: rows without any finished run.
        arms: what the comparison was made of, with its episodes.
    """

    encoders: tuple[str, ...]
    tasks: tuple[str, ...]
    comparison: Comparison | None
    unfinished: tuple[str, ...]
    arms: tuple[Arm, ...] = ()

    @classmethod
    def from_runs(
        cls,
        encoders: Sequence[str],
        tasks: Sequence[str],
        runs: Mapping[tuple[str, str], Sequence[FinishedRun]],
        reference: str,
        margin: float = 0.03,
    ) -> "BenchmarkTable":
        """Compare the finished runs.

        Args:
            encoders: row names.
            tasks: names of the environments.
            runs: finished runs by (encoder, task).
            reference: the row that the others are set beside.
            margin: difference of success rates below which rows count as equal.
        """
        arms = [
            make_arm(
                encoder,
                (
                    episodes
                    for task in tasks
                    for run in runs.get((encoder, task), ())
                    for episodes in episodes_of(run)
                ),
            )
            for encoder in encoders
        ]
        finished = [arm for arm in arms if arm.runs]
        unfinished = tuple(arm.name for arm in arms if not arm.runs)
        if not finished:
            return cls(tuple(encoders), tuple(tasks), None, unfinished)
        aligned = align_arms(finished)
        for part in CONDITION_PARTS:
            if met_several(aligned, part):
                aligned = split_arms(aligned, part)
        of_reference = (run for task in tasks for run in runs.get((reference, task), ()))
        looks = {str(run.results.environment.get("visual")) for run in of_reference}
        # An arm that is split by looks stands for itself under that of its training.
        names = {reference, *(f"{reference} ({look})" for look in looks)}
        comparison = compare_arms(
            aligned,
            next((arm.name for arm in aligned if arm.name in names), None),
            margin,
            conditions=sorted({run.condition for arm in aligned for run in arm.runs}),
            # The grid itself says what its rows differ in, and its folder is of one protocol.
            allow_unpaired=True,
            allow_mixed=True,
        )
        return cls(tuple(encoders), tuple(tasks), comparison, unfinished, aligned)

    @property
    def cells(self) -> dict[tuple[str, str], Cell]:
        """By (encoder, task), those that have finished runs; where an environment was met under
        several looks, the first of them.
        """
        found: dict[tuple[str, str], Cell] = {}
        for arm in self.comparison.arms if self.comparison else ():
            for condition, cell in arm.cells.items():
                found.setdefault((arm.name, condition.environment), cell)
        return found

    def to_markdown(self) -> str:
        """The tables of the comparison, and what is not finished."""
        parts = [] if self.comparison is None else [self.comparison.to_markdown()]
        if self.unfinished:
            names = ", ".join(f"`{name}`" for name in self.unfinished)
            parts.append(f"Note: no run is finished of {names}.")
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain values, with the grid's rows and environments in its order."""
        plain = {} if self.comparison is None else self.comparison.to_json()
        return {
            "rows": list(self.encoders),
            "tasks": list(self.tasks),
            "unfinished": list(self.unfinished),
            **plain,
        }
