"""Paired differences: of every pair over all conditions, and condition by condition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from egodtm_robot.comparison.arms import Arm, Condition
from egodtm_robot.comparison.comparison import Comparison, PairResult
from egodtm_robot.comparison.differences import PairedDifferences, PairingError, pair
from egodtm_robot.comparison.inference.estimate import MeanEstimate
from egodtm_robot.comparison.inference.paired import paired_estimate
from egodtm_robot.comparison.report.charts import IntervalRow, interval_chart
from egodtm_robot.comparison.report.parts import (
    NO_BREAK,
    Chart,
    Table,
    condition_name,
    estimate_text,
    interval_text,
    make_chart,
    p_text,
    pair_name,
    percent,
    points,
)
from egodtm_robot.comparison.report.ranking import margin_text
from egodtm_robot.core.intervals import Interval

_MOST_PAIRS = 6
"""All pairs are drawn if there are no more than these."""

_MOST_DRAWN = 12
"""Of the pairs with the reference; the table holds every pair."""

_MOST_DETAILED = 6
"""Pairs with a chart of their own."""


@dataclass(frozen=True)
class PairDifferences:
    """The part of the page on differences.

    Attributes:
        overview: differences of the means, a row a pair; None where there is no pair.
        details: for some pairs, the difference under each condition.
        table: every pair with its tests and its verdict.
        unpaired: pairs that share no episodes, and so have no details.
    """

    overview: Chart | None
    details: tuple[Chart, ...]
    table: Table
    unpaired: tuple[str, ...]


def pair_differences(arms: Sequence[Arm], comparison: Comparison) -> PairDifferences:
    """The differences of all pairs, and of those with the reference condition by condition.

    Args:
        arms: with the episodes that the comparison was made of.
        comparison: of the arms.
    """
    pairs, drawn = pairs_to_show(comparison), pairs_to_draw(comparison)
    by_name = {arm.name: arm for arm in arms}
    series = {arm.name: number for number, arm in enumerate(comparison.arms)}
    details = [
        _detail(by_name, one, comparison, series[one.first], f"pair-{number}")
        for number, one in enumerate(drawn[:_MOST_DETAILED])
        if one.paired
    ]
    return PairDifferences(
        overview=_overview(drawn, comparison, series) if pairs else None,
        details=tuple(chart for chart in details if chart is not None),
        table=_table(pairs, comparison),
        unpaired=tuple(f"{one.first} and {one.second}" for one in pairs if not one.paired),
    )


def pairs_to_show(comparison: Comparison) -> list[PairResult]:
    """Every pair once: first those with the reference, as the other arm minus the reference."""
    reference = comparison.reference
    turned = [one.reversed() if one.first == reference else one for one in comparison.pairs]
    return sorted(turned, key=lambda one: one.second != reference)


def pairs_to_draw(comparison: Comparison) -> list[PairResult]:
    """The pairs of charts: all if they are few, else those with the reference or with the best.

    Of many arms, every pair would be a chart that no one reads.
    """
    pairs = pairs_to_show(comparison)
    if len(pairs) <= _MOST_PAIRS:
        return pairs
    center = comparison.reference or comparison.arms[0].name
    own = [one for one in pairs if center in (one.first, one.second)]
    return (own or pairs)[:_MOST_DRAWN]


def _overview(
    pairs: Sequence[PairResult], comparison: Comparison, series: Mapping[str, int]
) -> Chart:
    rows = [
        IntervalRow(
            name=pair_name(one),
            value=100 * one.success.value,
            interval=_hundredfold(one.success.interval),
            text=f"{points(one.success.value)} {one.verdict}",
            series=series[one.first],
        )
        for one in pairs
    ]
    figure = interval_chart(rows, "difference, points of success", margin=100 * comparison.margin)
    level = percent(comparison.confidence)
    table = Table(
        "Differences of mean success, points",
        ("pair", "difference", f"{level} % interval", "verdict"),
        tuple(
            (
                pair_name(one),
                points(one.success.value),
                interval_text(one.success.interval, 1, sign=True),
                one.verdict,
            )
            for one in pairs
        ),
    )
    return make_chart(
        figure,
        "differences-chart",
        "Differences of mean success",
        "; ".join(f"{row.name}: {row.text}" for row in rows) + ".",
        f"Right of the line at 0 the first arm is better. Lines are {level} % intervals for a "
        "single pair. The shaded band is the margin of "
        f"{margin_text(comparison.margin)}: a tie is a finding only where it was tested.",
        table,
    )


def _detail(
    arms: Mapping[str, Arm], one: PairResult, comparison: Comparison, series: int, key: str
) -> Chart | None:
    rows, texts = [], []
    for condition in comparison.compared:
        found = _paired_under(arms[one.first], arms[one.second], (condition,))
        if found is None:
            continue
        name = condition_name(condition, comparison.conditions)
        rows.append(_row(name, found, paired_estimate(found, comparison.confidence), series))
        texts.append(_texts(name, found, paired_estimate(found, comparison.confidence)))
    whole = _paired_under(arms[one.first], arms[one.second], comparison.compared)
    if whole is None or not rows:
        return None
    rows.append(replace(_row("mean", whole, one.success, series), sums_up=True))
    texts.append(_texts("mean", whole, one.success))
    title = pair_name(one)
    level = percent(comparison.confidence)
    return make_chart(
        interval_chart(
            rows, "difference, points of success", margin=100 * comparison.margin
        ),
        key,
        title,
        f"Difference under each condition and of the mean, which is {rows[-1].text} points.",
        f"On the same episodes. Small strokes are run seeds; lines are {level} % "
        "intervals, of each condition by itself and not corrected for their number.",
        Table(
            f"{title}, points of success",
            ("condition", "difference", f"{level} % interval", "only first", "only second",
             "run seeds"),
            tuple(texts),
        ),
    )  # fmt: skip


def _paired_under(
    first: Arm, second: Arm, conditions: Sequence[Condition]
) -> PairedDifferences | None:
    """The paired differences under some conditions; None where nothing pairs."""
    ours, theirs = (
        Arm(arm.name, tuple(run for run in arm.runs if run.condition in conditions))
        for arm in (first, second)
    )
    try:
        return pair(ours, theirs)
    except PairingError:
        return None


def _row(name: str, found: PairedDifferences, estimate: MeanEstimate, series: int) -> IntervalRow:
    return IntervalRow(
        name=name,
        value=100 * estimate.value,
        interval=_hundredfold(estimate.interval),
        text=estimate_text(estimate, sign=True),
        series=series,
        dots=tuple(100 * value for value in _by_seed(found)),
    )


def _texts(name: str, found: PairedDifferences, estimate: MeanEstimate) -> tuple[str, ...]:
    values = np.concatenate(list(found.values.values()))
    return (
        name,
        points(estimate.value),
        interval_text(estimate.interval, 1, sign=True),
        str(int((values > 0).sum())),
        str(int((values < 0).sum())),
        ", ".join(
            f"{seed}:{NO_BREAK}{points(value)}"
            for seed, value in zip(found.run_seeds, _by_seed(found), strict=True)
        ),
    )


def _by_seed(found: PairedDifferences) -> list[float]:
    """The mean difference of each run seed, every condition weighing the same."""
    return [
        float(np.mean([np.mean(found.values[condition, seed]) for condition in found.conditions]))
        for seed in found.run_seeds
    ]


def _table(pairs: Sequence[PairResult], comparison: Comparison) -> Table:
    level = percent(comparison.confidence)
    return Table(
        f"Every pair; p-values are adjusted for the number of pairs ({comparison.correction})",
        ("pair", "difference, points", f"{level} % interval", "p", "p of equivalence", "verdict",
         "paired"),
        tuple(
            (
                pair_name(one),
                points(one.success.value),
                interval_text(one.success.interval, 1, sign=True),
                p_text(one.p_value, alone=True),
                p_text(one.equivalence_p_value, alone=True),
                verdict_text(one, comparison.margin),
                "yes" if one.paired else "no",
            )
            for one in pairs
        ),
    )  # fmt: skip


def verdict_text(one: PairResult, margin: float) -> str:
    """The verdict on a pair in a few words.

    Args:
        one: the pair.
        margin: below which arms count as equal.
    """
    if one.verdict == "equal":
        return f"equal within {margin_text(margin)}"
    return "undecided" if one.verdict == "undecided" else f"first {one.verdict}"


def _hundredfold(interval: Interval) -> Interval:
    return Interval(100 * interval.low, 100 * interval.high)
