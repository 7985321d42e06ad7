r"""Compares finished evaluations: ``python -m pretrain.compare EVALUATION_A EVALUATION_B``.

Each path is the folder of a run of ``python -m pretrain.evaluate``. Either the models differ and
the loader is the same, or one model was measured under different loaders::

    python -m pretrain.compare runs/evaluate/a/1f2e runs/evaluate/b/1f2e reference=egodtm_tiny
    python -m pretrain.compare A B C numbers=all out=comparison

It prints the difference of every pair on the questions that both were asked, with an interval over
videos and tests that are corrected for their number. See docs/guide/evaluation.md.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from egodtm_robot.core.configuration import Bounds, OutputFolder, command
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.evaluate.comparison import ModelComparison, compare_evaluations
from pretrain.evaluate.comparison_tables import comparison_json, comparison_markdown
from pretrain.evaluate.finished import read_evaluation


@dataclass
class CompareModelsConfig:
    """What to compare, and what to write."""

    runs: list[str] = field(default_factory=list)
    """Folders of finished evaluations; arguments that are no settings."""

    reference: str | None = None
    """Name of the evaluation that the others are compared with; null compares every pair."""

    tasks: list[str] = field(default_factory=list)
    """Tasks to compare; empty for all that every evaluation has."""

    numbers: Literal["headline", "all"] = "headline"
    """Of a task its ``headline``, or ``all`` of its numbers, which makes more tests."""

    confidence: Annotated[float, Bounds(0, 1)] = 0.95
    """Level of every interval. A test decides at one minus it."""

    out: OutputFolder | None = None
    """Folder that gets ``compare.md`` and ``compare.json``; null writes nothing."""


def compare(config: CompareModelsConfig) -> ModelComparison:
    """Read the evaluations, write what was asked for and return their comparison.

    Raises:
        ConfigurationError: there are no two evaluations.
        UnknownNameError: there is no such reference or task.
        EgoDTMRobotError: what was read cannot be compared.
    """
    if not 0 < config.confidence < 1:
        raise ConfigurationError(
            f"Expected confidence between 0 and 1, got {config.confidence}. 0.95 is usual."
        )
    comparison = compare_evaluations(
        [read_evaluation(Path(path)) for path in config.runs],
        reference=config.reference,
        tasks=config.tasks,
        all_numbers=config.numbers == "all",
        confidence=config.confidence,
    )
    if config.out is not None:
        out = Path(config.out)
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "compare.md", f"{comparison_markdown(comparison)}\n".encode())
        text = json.dumps(comparison_json(comparison), indent=2)
        write_atomically(out / "compare.json", f"{text}\n".encode())
    return comparison


@command(CompareModelsConfig, "compare_models", "runs")
def main(config: CompareModelsConfig) -> None:
    """Compares and prints the table."""
    print(comparison_markdown(compare(config)))


if __name__ == "__main__":
    main()
