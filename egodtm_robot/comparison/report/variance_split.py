"""What the uncertainty of each difference comes from: training again, or other episodes."""

import math
from dataclasses import dataclass

from egodtm_robot.comparison.comparison import Comparison
from egodtm_robot.comparison.report.charts import share_chart
from egodtm_robot.comparison.report.pair_differences import pairs_to_draw
from egodtm_robot.comparison.report.parts import (
    Chart,
    Table,
    counted,
    make_chart,
    number,
    pair_name,
    percent,
)


@dataclass(frozen=True)
class VarianceSplit:
    """The part of the page on chance.

    Attributes:
        chart: shares of the variance; None where no pair has several run seeds.
        advice: what would make the least certain difference surer; empty without one.
    """

    chart: Chart | None
    advice: str


def variance_split(comparison: Comparison) -> VarianceSplit:
    """The parts of the variance of every pair's difference."""
    pairs = [
        one
        for one in pairs_to_draw(comparison)
        if not math.isnan(one.success.training_share)
    ]  # fmt: skip
    if not pairs:
        return VarianceSplit(None, comparison.advice)
    rows = [
        (
            pair_name(one),
            (one.success.training_share, one.success.episode_share),
        )
        for one in pairs
    ]
    table = Table(
        "Parts of the variance of each difference",
        ("pair", "training, percent", "episodes, percent", "standard error, points", "run seeds",
         "episodes"),
        tuple(
            (
                pair_name(one),
                percent(one.success.training_share),
                percent(one.success.episode_share),
                number(100 * one.success.standard_error, 2),
                str(one.success.run_seeds),
                str(one.success.episodes),
            )
            for one in pairs
        ),
    )  # fmt: skip
    chart = make_chart(
        share_chart(rows, ("training", "episodes"), "percent of the variance"),
        "variance-chart",
        "Training and episodes as chance",
        "; ".join(f"{name}: {percent(shares[0])} percent training" for name, shares in rows) + ".",
        "What the interval of each difference is made of: how much training again would change, "
        "and how much other episodes would. Over "
        f"{counted(len(comparison.compared), 'condition')}.",
        table,
    )
    return VarianceSplit(chart, comparison.advice)
