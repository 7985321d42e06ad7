"""A comparison as Markdown: the table of arms, the table of pairs, and what a reader must know."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from egodtm_robot.comparison.arms import Condition
from egodtm_robot.comparison.inference.estimate import MeanEstimate

if TYPE_CHECKING:
    from egodtm_robot.comparison.comparison import ArmResult, Comparison, PairResult


def comparison_markdown(comparison: "Comparison") -> str:
    """Two tables and notes; success and progress in percent, differences in points.

    Args:
        comparison: what to show.
    """
    parts = [arms_table(comparison), _legend(comparison)]
    if comparison.pairs:
        parts.append(pairs_table(comparison))
    parts += [comparison.advice] if comparison.advice else []
    parts += [f"Note: {note}" for note in comparison.notes]
    return "\n\n".join(parts)


def arms_table(comparison: "Comparison") -> str:
    """A row an arm, best first: its cells, its mean with letters, and what stands beside."""
    arms = comparison.arms
    progress = any(arm.progress is not None for arm in arms)
    time = any(arm.solve_time is not None for arm in arms)
    maximum = any(arm.checkpoint_maximum is not None for arm in arms)
    head = ["arm", *condition_names(comparison.conditions), "mean"]
    head += ["letters"] if comparison.pairs else []
    head += [f"difference to `{comparison.reference}`"] if comparison.reference else []
    head += ["progress"] if progress else []
    head += ["steps to solve"] if time else []
    head += ["maximum over checkpoints (inflation)"] if maximum else []
    rows = []
    for arm in arms:
        row = [f"`{arm.name}`"]
        for condition in comparison.conditions:
            cell = arm.cells.get(condition)
            row.append("" if cell is None else _percent(cell.rate, cell.interval, 0))
        row.append("" if arm.mean is None else _percent(arm.mean.value, arm.mean.interval))
        row += [arm.letters] if comparison.pairs else []
        row += [_to_reference(comparison, arm.name)] if comparison.reference else []
        row += ["" if arm.progress is None else f"{100 * arm.progress:.1f}"] if progress else []
        row += ["" if arm.solve_time is None else f"{arm.solve_time:.1f}"] if time else []
        row += [_maximum(arm)] if maximum else []
        rows.append(row)
    return _table(head, rows)


def pairs_table(comparison: "Comparison") -> str:
    """A row a pair: difference, tests, verdict, and the part of the variance that is training."""
    head = ["first", "second", "difference", "p", "p equal", "verdict", "training", "progress"]
    head.append("steps to solve")
    rows = [
        [
            f"`{one.first}`",
            f"`{one.second}`",
            _difference(one),
            _p_value(one.p_value),
            _p_value(one.equivalence_p_value),
            one.verdict,
            _share(one.success),
            "" if one.progress is None else _points(one.progress),
            "" if one.solve_time is None else _steps(one.solve_time),
        ]
        for one in comparison.pairs
    ]
    empty = [n for n, name in enumerate(head) if name and not any(row[n] for row in rows)]
    keep = [n for n in range(len(head)) if n not in empty]
    return _table([head[n] for n in keep], [[row[n] for n in keep] for row in rows])


def condition_names(conditions: Sequence[Condition]) -> list[str]:
    """Short names of columns: what all have in common is left out.

    Args:
        conditions: different ones.
    """
    words = [one.environment.split("_") for one in conditions]
    common = 0
    if len({one.environment for one in conditions}) > 1:
        shortest = min(map(len, words)) - 1
        while common < shortest and len({tuple(one[: common + 1]) for one in words}) == 1:
            common += 1
    looks, resets = ({getattr(one, part) for one in conditions} for part in ("look", "resets"))
    names = []
    for one, of_environment in zip(conditions, words, strict=True):
        parts = [" ".join(of_environment[common:]) or "success"]
        parts += [one.look] if len(looks) > 1 else []
        parts += [f"resets {one.resets}"] if len(resets) > 1 else []
        names.append(", ".join(part for part in parts if part))
    return names


def _legend(comparison: "Comparison") -> str:
    means = [arm.mean for arm in comparison.arms if arm.mean is not None]
    seeds = sorted({mean.run_seeds for mean in means})
    counts = " to ".join(map(str, seeds if len(seeds) < 2 else (seeds[0], seeds[-1]))) or "no"
    measured = "; ".join(map(str, comparison.provenance)) or "a protocol that is not known"
    first = (
        f"Measured under {measured}: {_counted(len(comparison.compared), 'condition')}, "
        f"{counts} run seed{'' if seeds == [1] else 's'}, hash "
        f"{comparison.fingerprint}."
    )
    over = "over run seeds and episodes" if seeds[-1:] > [1] else "over episodes alone"
    if seeds[:1] == [1] < seeds[-1:]:
        over += " (over episodes alone where there is one run seed)"
    second = (
        f"Percent of final episodes with {100 * comparison.confidence:g} % intervals, Wilson's "
        f"over episodes for a cell, {over} for a mean."
    )
    if comparison.pairs:
        second += (
            " Arms that share a letter do not differ clearly. A difference is in points, on the "
            "episodes that both arms have met, with its part that is due to training. Equal means "
            f"closer than {100 * comparison.margin:g} points, which is tested as well."
        )
    if len(comparison.pairs) > 1:
        second += (
            f" Tests, verdicts and letters are corrected for {len(comparison.pairs)} pairs "
            f"({comparison.correction}); intervals are not."
        )
    return f"{first}\n\n{second}"


def _to_reference(comparison: "Comparison", name: str) -> str:
    assert comparison.reference is not None
    found = comparison.difference(name, comparison.reference)
    return "" if found is None else _difference(found)


def _difference(one: "PairResult") -> str:
    return _points(one.success) + ("" if one.paired else " (unpaired)")


def _maximum(arm: "ArmResult") -> str:
    if arm.checkpoint_maximum is None:
        return ""
    text = f"{100 * arm.checkpoint_maximum:.1f}"
    if arm.mean is None:
        return text
    return f"{text} ({100 * (arm.checkpoint_maximum - arm.mean.value):+.1f})"


def _percent(value: float, interval: Sequence[float], digits: int = 1) -> str:
    low, high = interval
    return f"{100 * value:.{digits}f} [{100 * low:.0f}, {100 * high:.0f}]"


def _points(estimate: MeanEstimate) -> str:
    low, high = (100 * end for end in estimate.interval)
    return f"{_signed(100 * estimate.value)} [{_signed(low)}, {_signed(high)}]"


def _steps(estimate: MeanEstimate) -> str:
    low, high = estimate.interval
    return f"{_signed(estimate.value)} [{_signed(low)}, {_signed(high)}]"


def _signed(value: float) -> str:
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _p_value(value: float) -> str:
    # Enough digits to see on which side of a level it is.
    return "< 0.001" if value < 0.001 else f"{value:.3g}"


def _share(estimate: MeanEstimate) -> str:
    share = estimate.training_share
    return "" if math.isnan(share) else f"{100 * share:.0f} %"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
