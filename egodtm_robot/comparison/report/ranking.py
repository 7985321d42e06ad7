"""The ranking: every arm's mean success with its interval and its letters, and the findings."""

from dataclasses import dataclass

from egodtm_robot.comparison.comparison import ArmResult, Comparison, PairResult
from egodtm_robot.comparison.report.charts import IntervalRow, interval_chart
from egodtm_robot.comparison.report.parts import (
    UNKNOWN,
    Chart,
    Table,
    counted,
    estimate_text,
    make_chart,
    number,
    p_text,
    percent,
)
from egodtm_robot.core.intervals import Interval

_MOST_FINDINGS = 8


@dataclass(frozen=True)
class Finding:
    """What is found about two arms.

    Attributes:
        verdict: ``ahead``, ``equal`` or ``undecided``.
        text: the sentence.
    """

    verdict: str
    text: str


@dataclass(frozen=True)
class Ranking:
    """The first part of the page.

    Attributes:
        findings: what is found about pairs of arms, the reference's first.
        omitted: pairs that no finding speaks of; the table of pairs has them.
        chart: the means.
        table: a row an arm, best first.
    """

    findings: tuple[Finding, ...]
    omitted: int
    chart: Chart | None
    table: Table


def ranking(comparison: Comparison) -> Ranking:
    """The ranking of a comparison."""
    pairs = sorted(
        comparison.pairs, key=lambda one: comparison.reference not in (one.first, one.second)
    )
    shown = pairs[:_MOST_FINDINGS]
    return Ranking(
        findings=tuple(finding(one, comparison.margin) for one in shown),
        omitted=len(pairs) - len(shown),
        chart=_chart(comparison),
        table=_table(comparison),
    )


def finding(pair: PairResult, margin: float) -> Finding:
    """What is found about a pair, in a sentence.

    Args:
        pair: the difference of two arms.
        margin: below which they count as equal.
    """
    if pair.verdict == "behind":
        pair = pair.reversed()
    first, second = pair.first, pair.second
    difference = estimate_text(pair.success, sign=True)
    if pair.verdict == "ahead":
        text = (
            f"{first} is ahead of {second}: {difference} points, adjusted p {p_text(pair.p_value)}."
        )
    elif pair.verdict == "equal":
        text = (
            f"{first} and {second} are equal within {margin_text(margin)}, as tested: {difference} "
            f"points, adjusted p of a larger difference {p_text(pair.equivalence_p_value)}."
        )
    else:
        text = (
            f"{first} and {second} are undecided: {difference} points, adjusted p "
            f"{p_text(pair.p_value)}. Neither a difference nor a tie within "
            f"{margin_text(margin)} is shown."
        )
    if not pair.paired:
        text += " They share no episodes, so this is as uncertain as two separate experiments."
    return Finding(pair.verdict, text)


def margin_text(margin: float) -> str:
    """The margin in words: ``3 points``."""
    value = f"{100 * margin:.3g}"
    return f"{value} point{'' if value == '1' else 's'}"


def _chart(comparison: Comparison) -> Chart | None:
    rows = [
        IntervalRow(
            name=arm.name,
            value=100 * arm.mean.value,
            interval=Interval(*(100 * end for end in arm.mean.interval)),
            text=f"{estimate_text(arm.mean, 0)} {arm.letters}".strip(),
            series=series,
        )
        for series, arm in enumerate(comparison.arms)
        if arm.mean is not None
    ]
    if not rows:
        return None
    figure = interval_chart(rows, "success, percent", limits=(0, 100), bars=True)
    level = percent(comparison.confidence)
    head = ("arm", "success, percent", f"{level} % interval", "letters")
    with_mean = [arm for arm in comparison.arms if arm.mean is not None]
    table = Table(
        "Mean success of every arm",
        head,
        tuple(
            (arm.name, *estimate_text(arm.mean).split(" ", 1), arm.letters)
            for arm in with_mean
            if arm.mean is not None
        ),
    )
    best = rows[0]
    return make_chart(
        figure,
        "ranking-chart",
        "Mean success",
        f"Bars with {level} % intervals, best first. The best is {best.name} with {best.text}.",
        f"Mean over {counted(len(comparison.compared), 'condition')}, each weighing the same. "
        f"Lines are {level} % intervals over run seeds and episodes. Arms that share a letter are "
        "not told apart.",
        table,
    )


def _table(comparison: Comparison) -> Table:
    progress = any(arm.progress is not None for arm in comparison.arms)
    time = any(arm.solve_time is not None for arm in comparison.arms)
    maximum = any(arm.checkpoint_maximum is not None for arm in comparison.arms)
    head = ["arm", "success", "letters"]
    head += ["difference to the reference"] if comparison.reference is not None else []
    head += ["progress"] if progress else []
    head += ["steps to solve"] if time else []
    head += ["maximum over checkpoints"] if maximum else []
    head += ["run seeds", "episodes"]
    rows = []
    for arm in comparison.arms:
        row = [
            arm.name,
            UNKNOWN if arm.mean is None else estimate_text(arm.mean),
            arm.letters or UNKNOWN,
        ]
        row += [_to_reference(comparison, arm)] if comparison.reference is not None else []
        row += [UNKNOWN if arm.progress is None else percent(arm.progress, 1)] if progress else []
        row += [UNKNOWN if arm.solve_time is None else number(arm.solve_time, 1)] if time else []
        row += [_maximum(arm)] if maximum else []
        row += [str(len(arm.run_seeds)), UNKNOWN if arm.mean is None else str(arm.mean.episodes)]
        rows.append(tuple(row))
    return Table("Every arm, best first; success and progress in percent", tuple(head), tuple(rows))


def _to_reference(comparison: Comparison, arm: ArmResult) -> str:
    if arm.name == comparison.reference:
        return "reference"
    found = comparison.difference(arm.name, str(comparison.reference))
    if found is None:
        return UNKNOWN
    return f"{estimate_text(found.success, sign=True)} {found.verdict}"


def _maximum(arm: ArmResult) -> str:
    if arm.checkpoint_maximum is None:
        return UNKNOWN
    text = percent(arm.checkpoint_maximum, 1)
    if arm.mean is None:
        return text
    inflation = number(100 * (arm.checkpoint_maximum - arm.mean.value), 1, sign=True)
    return f"{text} ({inflation} over fresh episodes)"
