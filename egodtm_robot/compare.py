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
from dataclasses import dataclass
from pathlib import Path

from egodtm_robot.comparison.comparison import Comparison
from egodtm_robot.comparison.outcomes_csv import write_outcomes_csv
from egodtm_robot.comparison.request import ComparisonRequest, compare_paths
from egodtm_robot.comparison.run_folders import unfinished_runs
from egodtm_robot.core.configuration import OutputFile, OutputFolder, command
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.storage.atomic_files import write_atomically


@dataclass
class CompareConfig(ComparisonRequest):
    """What to compare, and what to write."""

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
    arms, comparison = compare_paths(config)
    if len(arms) < 2:
        raise ConfigurationError(
            f"Expected at least two arms to compare, got {arms[0].name} alone. Name another "
            "folder or file."
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
