r"""Compares what was trained: ``python -m egodtm_robot.compare RUNS_A RUNS_B``.

A path is a folder of finished runs at any depth (a run, a row of a benchmark, all of it), or a file
of outcomes, ours or your own, ending in ``.csv`` or ``.csv.gz``. Each holds one arm or several::

    python -m egodtm_robot.compare runs/benchmark reference=pixels
    python -m egodtm_robot.compare runs/benchmark mine.csv margin=0.02 out=comparison

It prints the table of arms with letters, the difference of every pair on the episodes that both
have met, tested and corrected for the number of pairs, and says what would make it surer. See
docs/guide/comparing.md.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from egodtm_robot.comparison.arms import ConditionPart, split_arms
from egodtm_robot.comparison.comparison import Comparison, compare_arms
from egodtm_robot.comparison.outcomes_csv import write_outcomes_csv
from egodtm_robot.comparison.reading import read_arms
from egodtm_robot.comparison.run_folders import unfinished_runs
from egodtm_robot.core.configuration import Bounds, OutputFile, OutputFolder, command
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from egodtm_robot.core.storage.atomic_files import write_atomically


@dataclass
class CompareConfig:
    """What to compare."""

    runs: list[str] = field(default_factory=list)
    """Folders of finished runs and files of outcomes; arguments that are no settings."""

    arms: list[str] = field(default_factory=list)
    """Names of the arms to compare; empty for all that the paths hold."""

    reference: str | None = None
    """The arm that the others are set beside in the table; null for none. All pairs are compared in
    any case."""

    margin: Annotated[float, Bounds(0, 1)] = 0.03
    """Difference of success rates below which arms count as equal. State it before you look."""

    confidence: Annotated[float, Bounds(0, 1)] = 0.95
    """Level of every interval. A test decides at one minus it."""

    join: bool = False
    """Whether arms of one name in several paths are one arm, as for run seeds that lie in different
    folders. Otherwise they are told apart by their paths."""

    split: ConditionPart | None = None
    """Part of the condition by which each arm is split into several: ``look`` compares the same
    policies under the looks that they were tested on, on the same episode seeds."""

    allow_unpaired: bool = False
    """Whether arms that share no episodes are compared, as two separate experiments."""

    allow_mixed: bool = False
    """Whether runs of different protocols, versions of toolkit or simulator, or scenes are
    compared."""

    out: OutputFolder | None = None
    """Folder that gets ``compare.md`` and ``compare.json``; null writes nothing."""

    outcomes: OutputFile | None = None
    """File, ending in .csv or .csv.gz, that gets every outcome that was read, so that others can
    compare with the same episodes; null writes none."""


def compare(config: CompareConfig) -> Comparison:
    """Read the arms, write what was asked for and return their comparison.

    Raises:
        ConfigurationError: there are no paths, or fewer than two arms.
        UnknownNameError: an arm has no such name.
        EgoDTMRobotError: what was read cannot be compared.
    """
    if not config.runs:
        raise ConfigurationError(
            "Expected folders of finished runs or files of outcomes to compare, got none: "
            "python -m egodtm_robot.compare RUNS_A RUNS_B."
        )
    paths = [Path(path) for path in config.runs]
    arms = read_arms(paths, config.join)
    if config.split is not None:
        arms = split_arms(arms, config.split)
    if config.arms:
        known = {arm.name: arm for arm in arms}
        for name in config.arms:
            if name not in known:
                raise UnknownNameError("arm", name, list(known))
        arms = tuple(known[name] for name in config.arms)
    if len(arms) < 2:
        raise ConfigurationError(
            f"Expected at least two arms to compare, got {arms[0].name} alone. Name another "
            "folder or file."
        )
    comparison = compare_arms(
        arms,
        config.reference,
        config.margin,
        config.confidence,
        allow_unpaired=config.allow_unpaired,
        allow_mixed=config.allow_mixed,
    )
    if config.outcomes is not None:
        write_outcomes_csv(Path(config.outcomes), arms)
    if config.out is not None:
        out = Path(config.out)
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "compare.md", f"{comparison.to_markdown()}\n".encode())
        text = json.dumps(comparison.to_json(), indent=2)
        write_atomically(out / "compare.json", f"{text}\n".encode())
    return comparison


@command(CompareConfig, "compare", "runs")
def main(config: CompareConfig) -> None:
    """Compares and prints the tables."""
    print(compare(config).to_markdown())
    begun = sum(len(unfinished_runs(Path(path))) for path in config.runs)
    if begun:
        print(f"\nNote: {begun} runs that are not finished are left out.")


if __name__ == "__main__":
    main()
