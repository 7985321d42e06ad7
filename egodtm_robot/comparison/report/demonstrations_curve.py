"""Success against the number of demonstrations, where arms differ in it."""

from collections.abc import Mapping, Sequence

import numpy as np

from egodtm_robot.comparison.comparison import Comparison
from egodtm_robot.comparison.inference.estimate import MeanEstimate
from egodtm_robot.comparison.report.charts import Line, line_chart
from egodtm_robot.comparison.report.parts import Chart, Table, estimate_text, make_chart, percent
from egodtm_robot.comparison.report.run_records import RunRecord


def demonstrations_curve(
    comparison: Comparison, records: Mapping[str, Sequence[RunRecord]]
) -> Chart | None:
    """Means of arms that are the same but for the demonstrations, as a line each.

    Args:
        comparison: of the arms.
        records: of each arm's runs.

    Returns:
        The chart; None where no two arms differ in the number of demonstrations alone.
    """
    groups: dict[tuple[str, str], dict[int, tuple[str, MeanEstimate]]] = {}
    for arm in comparison.arms:
        found = {_identity(record) for record in records.get(arm.name, ())}
        if arm.mean is None or len(found) != 1:
            continue
        ((encoder, policy, demonstrations),) = found
        groups.setdefault((encoder, policy), {})[demonstrations] = (arm.name, arm.mean)
    groups = {identity: own for identity, own in groups.items() if len(own) > 1}
    if not groups:
        return None
    names = _names(list(groups))
    lines = []
    for series, (identity, own) in enumerate(groups.items()):
        estimates = [estimate for _, (_, estimate) in sorted(own.items())]
        lines.append(
            Line(
                names[identity],
                series,
                np.array(sorted(own), np.float64),
                100 * np.array([one.value for one in estimates]),
                100 * np.array([one.interval.low for one in estimates]),
                100 * np.array([one.interval.high for one in estimates]),
            )
        )
    level = percent(comparison.confidence)
    ticks = sorted({number for own in groups.values() for number in own})
    rows = tuple(
        (names[identity], str(number), estimate_text(estimate), arm_name)
        for identity, own in groups.items()
        for number, (arm_name, estimate) in sorted(own.items())
    )
    return make_chart(
        line_chart([("", lines)], "demonstrations", "success, percent", (0, 100), x_ticks=ticks),
        "demonstrations-chart",
        "Success against demonstrations",
        "; ".join(f"{name} with {number} demonstrations: {text}" for name, number, text, _ in rows)
        + ".",
        f"Mean success of policies that learned from more or fewer demonstrations. Bands are "
        f"{level} % intervals.",
        Table(
            "Success against demonstrations, percent",
            ("encoder and policy", "demonstrations", "success", "arm"),
            rows,
        ),
    )


def _identity(record: RunRecord) -> tuple[str, str, int]:
    """What an arm is apart from its demonstrations, and their number."""
    results = record.results
    encoder = str(results.encoder.get("name"))
    return encoder, results.policy, int(results.demos.get("episodes", 0))


def _names(identities: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    encoders = [encoder for encoder, _ in identities]
    return {
        (encoder, policy): encoder if encoders.count(encoder) == 1 else f"{encoder}, {policy}"
        for encoder, policy in identities
    }
