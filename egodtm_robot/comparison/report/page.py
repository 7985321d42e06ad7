"""The page: its parts put together into one file that needs nothing beside it."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import jinja2

from egodtm_robot.comparison.arms import Arm
from egodtm_robot.comparison.comparison import Comparison
from egodtm_robot.comparison.report.demonstrations_curve import demonstrations_curve
from egodtm_robot.comparison.report.gallery import gallery
from egodtm_robot.comparison.report.learning_curves import learning_curves, read_curve
from egodtm_robot.comparison.report.pair_differences import pair_differences
from egodtm_robot.comparison.report.parts import counted, percent
from egodtm_robot.comparison.report.ranking import margin_text, ranking
from egodtm_robot.comparison.report.run_provenance import run_provenance
from egodtm_robot.comparison.report.run_records import read_records
from egodtm_robot.comparison.report.solving import solving
from egodtm_robot.comparison.report.svg import chart_style
from egodtm_robot.comparison.report.task_table import CEILING, FLOOR, task_table
from egodtm_robot.comparison.report.variance_split import variance_split
from egodtm_robot.core.configuration import Bounds, NonNegativeInt
from egodtm_robot.core.storage.atomic_files import write_atomically

LOSS = "validation/loss"
"""The curve of a run's events that the page shows."""

_CONTENTS = (
    ("ranking", "Ranking"),
    ("differences", "Differences"),
    ("tasks", "Conditions"),
    ("demonstrations", "Demonstrations"),
    ("solving", "Progress and time"),
    ("learning", "Learning curves"),
    ("episodes", "Episodes"),
    ("chance", "Chance"),
    ("provenance", "Provenance"),
)


@dataclass
class PageOptions:
    """How a page is made."""

    title: str | None = None
    """Heading of the page; null makes one of the arms."""

    films: NonNegativeInt = 6
    """Pairs of films to show; 0 shows none."""

    films_mb: Annotated[float, Bounds(0)] = 8.0
    """Megabytes that films may take in the page; the rest of it takes less than 2."""


def write_report(
    file: Path, arms: Sequence[Arm], comparison: Comparison, options: PageOptions | None = None
) -> int:
    """Write a comparison as one self-contained page; the file appears whole or not at all.

    Args:
        file: the page; its folder is made.
        arms: with the episodes that the comparison was made of. Curves, films and provenance are
            read from the folders that they name; what is not there is said to be missing.
        comparison: of the arms.
        options: how the page is made; by default None, for those of :class:`PageOptions`.

    Returns:
        Bytes of the page.

    Raises:
        ResultsError: the results of a run cannot be read.
        OutcomesError: the outcomes of a run cannot be read.
    """
    content = report_page(arms, comparison, options or PageOptions()).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, content)
    return len(content)


def report_page(arms: Sequence[Arm], comparison: Comparison, options: PageOptions) -> str:
    """The page as HTML; see :func:`write_report`.

    Args:
        arms: with the episodes that the comparison was made of.
        comparison: of the arms.
        options: how the page is made.
    """
    records = read_records(arms)
    by_folder = {record.folder: record for found in records.values() for record in found}
    losses = {
        folder: curve for folder in by_folder if (curve := read_curve(folder, LOSS)) is not None
    }
    with chart_style():
        parts: dict[str, Any] = {
            "ranking": ranking(comparison),
            "differences": pair_differences(arms, comparison),
            "tasks": task_table(comparison, records),
            "demonstrations": demonstrations_curve(comparison, records),
            "solving": solving(arms, comparison),
            "learning": learning_curves(comparison, records, losses),
            "gallery": gallery(arms, comparison, by_folder, options.films, options.films_mb),
            "variance": variance_split(comparison),
            "provenance": run_provenance(arms, comparison, records, losses),
        }
    script = _template("script.js")
    return _environment().get_template("page.html").render(
        style=_template("style.css"),
        script=script,
        # No other script runs, whatever a name in the page says.
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        contents=[entry for entry in _CONTENTS if parts.get(entry[0], True) is not None],
        zip=zip,
        title=options.title or _title(comparison),
        summary=_summary(arms, comparison),
        notes=comparison.notes,
        margin=margin_text(comparison.margin),
        confidence=percent(comparison.confidence),
        ceiling=percent(CEILING),
        floor=percent(FLOOR),
        **parts,
    )  # fmt: skip


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _title(comparison: Comparison) -> str:
    names = [arm.name for arm in comparison.arms]
    if len(names) == 2:
        return f"{names[0]} against {names[1]}"
    return f"{len(names)} arms compared" if len(names) > 1 else names[0]


def _summary(arms: Sequence[Arm], comparison: Comparison) -> str:
    seeds = {run.run_seed for arm in arms for run in arm.runs}
    episodes = sum(len(run.success) for arm in arms for run in arm.runs)
    protocols = ", ".join(dict.fromkeys(one.protocol for one in comparison.provenance))
    parts = [f"protocol {protocols}"] if protocols else []
    parts += [
        counted(len(comparison.arms), "arm"),
        counted(len(comparison.compared), "condition"),
        counted(len(seeds), "run seed"),
        counted(episodes, "final episode"),
    ]
    return " · ".join(parts)
