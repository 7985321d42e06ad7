"""How far and how fast: episodes solved by each step, and differences of progress and time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from egodtm_robot.comparison.arms import Arm, RunEpisodes
from egodtm_robot.comparison.comparison import Comparison, PairResult
from egodtm_robot.comparison.inference.estimate import MeanEstimate
from egodtm_robot.comparison.report.charts import IntervalRow, Line, interval_chart, line_chart
from egodtm_robot.comparison.report.pair_differences import pairs_to_draw
from egodtm_robot.comparison.report.parts import (
    Chart,
    Table,
    estimate_text,
    make_chart,
    p_text,
    pair_name,
    percent,
)
from egodtm_robot.core.intervals import Interval

_POINTS = 41
"""Steps at which the chart of solved episodes is drawn, at most."""

_ROWS = 9
"""Of the table of solved episodes, about."""


@dataclass(frozen=True)
class Solving:
    """The part of the page on progress and time.

    Attributes:
        charts: solved by each step, difference of progress, difference of time; without those that
            the results do not hold.
    """

    charts: tuple[Chart, ...]


def solving(arms: Sequence[Arm], comparison: Comparison) -> Solving:
    """Progress and time to solve.

    Args:
        arms: with the episodes that the comparison was made of.
        comparison: of the arms.
    """
    pairs = pairs_to_draw(comparison)
    series = {arm.name: number for number, arm in enumerate(comparison.arms)}
    charts = [_solved_by_step(arms, comparison, series)]
    charts.append(
        _difference_chart(
            [(one, one.progress) for one in pairs],
            comparison, series, "progress-chart", "Progress towards the goal", 100,
            "difference, points of progress",
            "Right of 0 the first arm comes further. Progress counts where success does not yet, "
            "so it tells arms apart sooner.",
        )
    )  # fmt: skip
    charts.append(
        _difference_chart(
            [(one, one.solve_time) for one in pairs],
            comparison, series, "time-chart", "Steps until solved", 1, "difference, steps",
            "Left of 0 the first arm is faster. An episode that is never solved counts with all of "
            "its steps.",
        )
    )  # fmt: skip
    return Solving(tuple(chart for chart in charts if chart is not None))


def _solved_by_step(
    arms: Sequence[Arm], comparison: Comparison, series: Mapping[str, int]
) -> Chart | None:
    results = {arm.name: arm for arm in comparison.arms}
    runs = {
        arm.name: [
            run
            for run in arm.runs
            if run.condition in comparison.compared
            and run.run_seed in results[arm.name].run_seeds
            and run.solved_step is not None
            and run.steps is not None
        ]
        for arm in sorted(arms, key=lambda arm: series[arm.name])
    }
    longest = max(
        (int(run.steps.max()) for own in runs.values() for run in own if run.steps is not None),
        default=0,
    )
    if not longest:
        return None
    steps = np.unique(np.linspace(0, longest, min(_POINTS, longest + 1)).round())
    lines = []
    for name, own in runs.items():
        if own:
            by_seed = _shares_by_seed(own, steps)
            lines.append(
                Line(name, series[name], steps, 100 * by_seed.mean(0), 100 * by_seed.min(0),
                     100 * by_seed.max(0))
            )  # fmt: skip
    shown = np.unique(np.linspace(0, len(steps) - 1, _ROWS).round().astype(int))
    table = Table(
        "Episodes solved by each step, percent",
        ("steps", *(line.name for line in lines)),
        tuple(
            (f"{steps[at]:.0f}", *(f"{line.y[at]:.1f}" for line in lines)) for at in shown
        ),
    )  # fmt: skip
    return make_chart(
        line_chart([("", lines)], "steps taken", "episodes solved, percent", (0, 100), steps=True),
        "solved-chart",
        "Solved by each step",
        "In the end "
        + ", ".join(f"{line.name} has solved {line.y[-1]:.0f} percent" for line in lines)
        + ".",
        "Share of episodes that were solved for the first time by a step; every condition weighs "
        "the same. Bands reach from the lowest to the highest run seed.",
        table,
    )


def _shares_by_seed(runs: Sequence[RunEpisodes], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares solved by each step, (run seeds, steps), as means over conditions."""
    shares = []
    for seed in sorted({run.run_seed for run in runs}):
        own = [run for run in runs if run.run_seed == seed]
        shares.append(
            np.mean(
                [
                    # An episode that was never solved is NaN, which is at no step.
                    (np.asarray(run.solved_step)[:, None] <= steps).mean(0)
                    for run in own
                ],
                axis=0,
            )
        )
    return np.array(shares)


def _difference_chart(
    pairs: Sequence[tuple[PairResult, MeanEstimate | None]],
    comparison: Comparison,
    series: Mapping[str, int],
    key: str,
    title: str,
    scale: float,
    axis: str,
    caption: str,
) -> Chart | None:
    known = [(one, estimate) for one, estimate in pairs if estimate is not None]
    if not known:
        return None
    rows = [
        IntervalRow(
            name=pair_name(one),
            value=scale * estimate.value,
            interval=Interval(*(scale * end for end in estimate.interval)),
            text=estimate_text(estimate, sign=True, scale=scale),
            series=series[one.first],
        )
        for one, estimate in known
    ]
    level = percent(comparison.confidence)
    table = Table(
        f"{title}, paired differences",
        ("pair", "difference", f"{level} % interval", "p, not adjusted"),
        tuple(
            (
                row.name,
                *row.text.split(" ", 1),
                p_text(estimate.p_value, alone=True),
            )
            for row, (_, estimate) in zip(rows, known, strict=True)
        ),
    )
    return make_chart(
        interval_chart(rows, axis, margin=0),
        key,
        title,
        "; ".join(f"{row.name}: {row.text}" for row in rows) + ".",
        caption,
        table,
    )
