"""Learning curves: loss on held-out demonstrations, and success of checkpoints, by step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from egodtm_robot.comparison.comparison import Comparison
from egodtm_robot.comparison.report.charts import Line, line_chart
from egodtm_robot.comparison.report.parts import Chart, Table, environment_name, make_chart, number
from egodtm_robot.comparison.report.run_records import RunRecord

_EVENTS = "events"
_LOSS = "validation/loss"
_MOST_PANELS = 12
_COLUMNS = 5


@dataclass(frozen=True)
class Curve:
    """A number that was written down while a policy was trained.

    Attributes:
        steps: float64 (n,), ascending.
        values: float64 (n,).
        times: float64 (n,), seconds since 1970, when each was written.
    """

    steps: NDArray[np.float64]
    values: NDArray[np.float64]
    times: NDArray[np.float64]


def read_curve(run_dir: Path, tag: str) -> Curve | None:
    """A curve of a run's TensorBoard events; None where there is none of this tag.

    Args:
        run_dir: folder of the run.
        tag: such as ``validation/loss``.
    """
    # It takes a second to import, and only those with runs on disk need it.
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not (run_dir / _EVENTS).is_dir():
        return None
    events = EventAccumulator(str(run_dir / _EVENTS), size_guidance={"scalars": 0})
    events.Reload()
    if tag not in events.Tags()["scalars"]:
        return None
    found = {event.step: event for event in events.Scalars(tag)}
    steps = sorted(found)
    return Curve(
        np.array(steps, np.float64),
        np.array([found[step].value for step in steps], np.float64),
        np.array([found[step].wall_time for step in steps], np.float64),
    )


@dataclass(frozen=True)
class LearningCurves:
    """The part of the page on training.

    Attributes:
        charts: success of checkpoints and loss, those that the runs hold.
        without: names of arms of which no run has a curve.
    """

    charts: tuple[Chart, ...]
    without: tuple[str, ...]


def learning_curves(
    comparison: Comparison,
    records: Mapping[str, Sequence[RunRecord]],
    losses: Mapping[Path, Curve],
) -> LearningCurves:
    """The curves of all arms, a panel for each environment.

    Args:
        comparison: of the arms.
        records: of each arm's runs.
        losses: on held-out demonstrations, by the folder of the run.
    """
    charts = [
        _chart(
            comparison, records,
            _selection, 100,
            "selection-chart", "Success of checkpoints", "success, percent",
            "Success on the episodes that the checkpoint was chosen on, which the figures above do "
            "not contain.",
        ),
        _chart(
            comparison, records,
            lambda record: _points(losses.get(record.folder)), 1,
            "loss-chart", "Loss on held-out demonstrations", "validation loss",
            "A lower loss is not more success: arms see different features.",
        ),
    ]  # fmt: skip
    without = tuple(
        arm.name
        for arm in comparison.arms
        if not any(record.folder in losses for record in records.get(arm.name, ()))
    )
    return LearningCurves(tuple(chart for chart in charts if chart is not None), without)


def _selection(record: RunRecord) -> dict[float, float]:
    return {
        float(entry["step"]): entry["successes"] / entry["episodes"]
        for entry in record.results.checkpoints
        if entry["episodes"]
    }


def _points(curve: Curve | None) -> dict[float, float]:
    return {} if curve is None else dict(zip(curve.steps, curve.values, strict=True))


def _chart(
    comparison: Comparison,
    records: Mapping[str, Sequence[RunRecord]],
    points_of: Callable[[RunRecord], Mapping[float, float]],
    scale: float,
    key: str,
    title: str,
    axis: str,
    caption: str,
) -> Chart | None:
    environments = list(dict.fromkeys(one.environment for one in comparison.conditions))
    panels = []
    for environment in environments[:_MOST_PANELS]:
        lines = []
        for series, arm in enumerate(comparison.arms):
            curves = [
                points_of(record)
                for record in records.get(arm.name, ())
                if record.results.env == environment
            ]
            line = _mean_line(arm.name, series, [one for one in curves if one], scale)
            lines += [] if line is None else [line]
        if lines:
            panels.append((environment_name(environment, environments), lines))
    if not panels:
        return None
    left_out = len(environments) - _MOST_PANELS
    more = f" {left_out} more environments are left out." if left_out > 0 else ""
    digits = 1 if scale == 100 else 4
    steps = sorted({step for _, lines in panels for line in lines for step in line.x})
    places = np.unique(np.linspace(0, len(steps) - 1, _COLUMNS).round()).astype(int)
    shown = [steps[place] for place in places]
    return make_chart(
        line_chart(panels, "training step", axis, (0, 100) if scale == 100 else None),
        key,
        title,
        f"{title} by training step, for {len(panels)} environments.",
        f"{caption} Lines are means over run seeds, bands reach from the lowest to the "
        f"highest.{more}",
        Table(
            f"{title}, {axis}",
            ("environment", "arm", *(f"step {step:.0f}" for step in shown)),
            tuple(_rows(panels, shown, digits)),
        ),
    )


def _mean_line(
    name: str, series: int, curves: Sequence[Mapping[float, float]], scale: float
) -> Line | None:
    """Mean and range over runs, at the steps that all of them have."""
    if not curves:
        return None
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    if not steps:
        return None
    values = scale * np.array([[curve[step] for step in steps] for curve in curves])
    return Line(name, series, np.array(steps), values.mean(0), values.min(0), values.max(0))


def _rows(
    panels: Sequence[tuple[str, Sequence[Line]]], steps: Sequence[float], digits: int
) -> Iterator[tuple[str, ...]]:
    for title, lines in panels:
        for line in lines:
            values = dict(zip(line.x, line.y, strict=True))
            yield (title, line.name, *(number(values.get(one, np.nan), digits) for one in steps))
