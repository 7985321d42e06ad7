"""What a pretraining leaves behind: ``results.json`` for programs, the same in words for people."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egodtm_robot.core.errors import CheckpointError
from egodtm_robot.core.run_folder import RESULTS_FILE, write_results
from pretrain.evaluate.tables import score_lines

SCHEMA_VERSION = 1


@dataclass
class PretrainResults:
    """The content of ``results.json``; every field is plain JSON.

    The scores of each task stand beside the other fields in the file, under the task's name.

    Attributes:
        model: the model's name.
        objective: the objective's name.
        steps: optimization steps.
        batch_size: clips a step.
        seed: of the run.
        data: where the clips come from, with fingerprints.
        tasks: the scores of each evaluation task on the test clips; None for a task that the
            objective or the clips have nothing for.
        test_clips: how many clips they were measured on.
        best_step: step of the best checkpoint, which was measured.
        validation_score: what it was chosen by.
        clips_per_s: clips trained on a second.
        loader_wait_fraction: share of that time in which training waited for clips.
        parameters: numbers of weights, in total and by part.
        checkpoints: files below the run's folder.
        timings_s: wall seconds of each stage.
        curves: losses and scores of validation by step.
        versions: of the packages that decide the outcome.
        torch_threads: CPU threads of a trainer.
    """

    model: str
    objective: str
    steps: int
    batch_size: int
    seed: int
    data: dict[str, Any]
    tasks: dict[str, dict[str, Any] | None]
    test_clips: int
    best_step: int
    validation_score: float
    clips_per_s: float
    loader_wait_fraction: float
    parameters: dict[str, int]
    checkpoints: dict[str, str]
    timings_s: dict[str, float]
    curves: list[dict[str, Any]]
    versions: dict[str, str]
    torch_threads: int
    schema_version: int = SCHEMA_VERSION

    def save(self, run_dir: Path) -> None:
        """Write ``results.json`` atomically."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        write_results(run_dir, {**values.pop("tasks"), **values})

    @classmethod
    def load(cls, run_dir: Path) -> "PretrainResults":
        """Read the results of a finished run.

        Raises:
            CheckpointError: there are none, or they can't be read.
        """
        try:
            found = json.loads((run_dir / RESULTS_FILE).read_text())
            own = {name: found.pop(name) for name in own_names()}
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise CheckpointError(
                f"Expected a finished run with {RESULTS_FILE} in {run_dir}, and could not read it: "
                f"{error}. Run the same pretraining again to finish it."
            ) from error
        return cls(**own, tasks=found)

    def measured(self) -> dict[str, Any]:
        """What a card says of the checkpoint: the scores that there are, and what they are of."""
        scores = {name: found for name, found in self.tasks.items() if found is not None}
        return {**scores, "test_clips": self.test_clips, "best_step": self.best_step}


def own_names() -> tuple[str, ...]:
    """Keys of ``results.json`` that are no task's."""
    return tuple(
        field.name for field in dataclasses.fields(PretrainResults) if field.name != "tasks"
    )


def describe(results: PretrainResults, run_dir: Path) -> str:
    """The run in words: the last lines that a person sees."""
    lines = [
        "",
        f"{results.model}, objective {results.objective}, {results.steps} steps of "
        f"{results.batch_size}, seed {results.seed}: best at step {results.best_step}",
    ]
    if any(found is not None for found in results.tasks.values()):
        lines.append(
            f"  on {results.test_clips} clips of scenes that nothing was trained or chosen on:"
        )
    for name, found in results.tasks.items():
        if found is not None:
            lines += [f"  {line}" for line in score_lines(name, found)]
    timings = ", ".join(f"{name} {spent:.0f} s" for name, spent in results.timings_s.items())
    lines += [
        f"  {results.clips_per_s:.1f} clips/s, loader wait "
        f"{results.loader_wait_fraction:.1%}; {timings}",
        f"  {run_dir / RESULTS_FILE}",
        f"  {run_dir / results.checkpoints['best']}",
    ]
    lines += [f"  {picture}" for picture in sorted(run_dir.glob("*.png"))]
    return "\n".join(lines)
