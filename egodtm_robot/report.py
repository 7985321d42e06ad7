r"""Writes a comparison as a page: ``python -m egodtm_robot.report RUNS... out=report.html``.

The page needs nothing beside it and opens from disk: ranking, paired differences, success under
every condition, learning curves, films of episodes on which arms disagree, what chance is made of,
and where every number comes from. Paths are those of ``python -m egodtm_robot.compare``::

    python -m egodtm_robot.report runs/benchmark reference=pixels
    python -m egodtm_robot.report runs/benchmark mine.csv out=mine.html page.films=12

See docs/guide/report.md.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

from dataclasses import dataclass, field
from pathlib import Path

from egodtm_robot.comparison.report.page import PageOptions, write_report
from egodtm_robot.comparison.request import ComparisonRequest, compare_paths
from egodtm_robot.core.configuration import OutputFile, command
from egodtm_robot.core.storage import format_bytes


@dataclass
class ReportConfig(ComparisonRequest):
    """What to compare, and the page to write."""

    out: OutputFile = "report.html"
    """The page; one that is there is replaced."""

    page: PageOptions = field(default_factory=PageOptions)
    """How it is made."""


@command(ReportConfig, "report", "runs")
def main(config: ReportConfig) -> None:
    """Writes the page and says where it is."""
    arms, comparison = compare_paths(config)
    size = write_report(Path(config.out), arms, comparison, config.page)
    print(f"{len(arms)} arms in {config.out} ({format_bytes(size)})")


if __name__ == "__main__":
    main()
