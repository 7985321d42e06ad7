"""A comparison of evaluations as Markdown and as JSON."""

import math
from typing import Any

from egodtm_robot.core.run_folder import json_values
from pretrain.evaluate.comparison import ModelComparison, NumberDifference

VERSION = 1


def comparison_markdown(comparison: ModelComparison) -> str:
    """A row a number and pair, and what a reader must know."""
    level = f"{100 * comparison.confidence:g} %"
    head = [
        "task",
        "number",
        "first",
        "second",
        "first",
        "second",
        "difference",
        level,
        "p",
        "says",
    ]
    rows = [_cells(one, 1 - comparison.confidence) for one in comparison.differences]
    table = [head, ["---"] * len(head), *rows]
    tests = sum(not math.isnan(one.adjusted_p) for one in comparison.differences)
    parts = [
        f"{len(comparison.names)} {comparison.compared} on the same questions:",
        "\n".join(f"- `{n}`: {p}" for n, p in zip(comparison.names, comparison.paths, strict=True)),
        "\n".join(f"| {' | '.join(row)} |" for row in table),
        "Differences are first minus second, paired row by row; intervals and tests are over "
        f"videos. p is Holm's, over the {tests} tests of this table.",
    ]
    if comparison.compared == "models":
        parts.append("It says nothing about other trainings of the same kind: each model is one.")
    return "\n\n".join([*parts, *(f"Note: {note}" for note in comparison.notes)])


def comparison_json(comparison: ModelComparison) -> dict[str, Any]:
    """The same as plain JSON."""
    found: dict[str, Any] = json_values(
        {
            "schema_version": VERSION,
            "compared": comparison.compared,
            "evaluations": dict(zip(comparison.names, comparison.paths, strict=True)),
            "confidence": comparison.confidence,
            "differences": [
                {
                    "task": one.task,
                    "number": one.number,
                    "first": one.first,
                    "second": one.second,
                    "values": list(one.values),
                    "difference": one.difference.value,
                    "low": one.difference.interval.low,
                    "high": one.difference.interval.high,
                    "p": one.difference.p_value,
                    "holm_p": one.adjusted_p,
                    "degrees_of_freedom": one.difference.degrees_of_freedom,
                    "rows": one.difference.rows,
                    "videos": one.difference.clusters,
                }
                for one in comparison.differences
            ],
            "notes": list(comparison.notes),
        }
    )
    return found


def _cells(one: NumberDifference, alpha: float) -> list[str]:
    found = one.difference
    if math.isnan(found.p_value):
        interval, p_value, verdict = "one video alone has none", "", ""
    elif math.isnan(found.interval.low):
        interval, p_value, verdict = "no row differs", "1", "not told apart"
    else:
        interval = f"{found.interval.low:+.3f} to {found.interval.high:+.3f}"
        p_value = "< 0.001" if one.adjusted_p < 0.001 else f"{one.adjusted_p:.3f}"
        higher = "first higher" if found.value > 0 else "second higher"
        verdict = higher if one.adjusted_p <= alpha else "not told apart"
    return [
        one.task.replace("_", " "),
        one.number.replace("_", " ").replace("/", " "),
        f"`{one.first}`",
        f"`{one.second}`",
        *(f"{value:.3f}" for value in one.values),
        f"{found.value:+.3f}",
        interval,
        p_value,
        verdict,
    ]
