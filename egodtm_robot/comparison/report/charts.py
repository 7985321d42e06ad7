"""The kinds of chart in a report: values with intervals, lines, and parts of a whole.

Each is drawn for a narrow page: names stand above what they name, and a wider page shows more
charts beside each other rather than wider ones.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from egodtm_robot.comparison.report import svg
from egodtm_robot.core.intervals import Interval

_ROW = 40
_GAP = 12
_MARGIN = 14


@dataclass(frozen=True)
class IntervalRow:
    """A value in a chart of intervals.

    Attributes:
        name: of what has the value.
        value: in the chart's unit.
        interval: around it; None if there is none.
        text: the value in words, at the end of the row.
        series: decides color, marker and pattern.
        dots: single values behind the value, such as those of run seeds.
        sums_up: whether it sums up the rows above it, from which a line keeps it apart.
    """

    name: str
    value: float
    interval: Interval | None
    text: str
    series: int
    dots: tuple[float, ...] = ()
    sums_up: bool = False


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: in the legend.
        series: decides color, marker and dashes.
        x: (n,), ascending.
        y: (n,).
        low: (n,) lower edge of the band around the line, or None.
        high: (n,) its upper edge, or None.
    """

    name: str
    series: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None


def interval_chart(
    rows: Sequence[IntervalRow],
    axis: str,
    limits: tuple[float, float] | None = None,
    bars: bool = False,
    margin: float | None = None,
) -> Figure:
    """Values with their intervals, a row each, top first.

    Args:
        rows: at least one.
        axis: what is measured, in which unit.
        limits: ends of the axis; by default None, for what the rows need.
        bars: whether a bar reaches from 0 to each value.
        margin: half the width of a band around 0; by default None, for no band and no line at 0.
    """
    height = _ROW * len(rows) + 46
    figure = svg.new_figure(height)
    axes = _axes(figure, height, top=2, bottom=44)
    axes.set_ylim(_ROW * len(rows), 0)
    axes.set_xlim(*(limits or _limits(rows, margin)))
    axes.set_yticks([])
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    if margin is not None:
        axes.axvspan(-margin, margin, color=svg.GRID, alpha=0.55, linewidth=0, zorder=0.5)
        # Beside the texts, which it would run through.
        starts = _ROW * np.arange(len(rows)) + 19.0
        axes.vlines(np.zeros(len(rows)), starts, starts + 19, color=svg.FAINT, linewidth=1.2)
    for number, row in enumerate(rows):
        _draw_row(axes, row, _ROW * number, bars)
    axes.set_xlabel(axis)
    return figure


def line_chart(
    panels: Sequence[tuple[str, Sequence[Line]]],
    x_axis: str,
    y_axis: str,
    y_limits: tuple[float, float] | None = None,
    steps: bool = False,
    x_ticks: Sequence[float] | None = None,
) -> Figure:
    """Lines with their bands, in panels that share both axes.

    Args:
        panels: title and lines of each; a single one needs no title.
        x_axis: what goes to the right, in which unit.
        y_axis: what goes up, in which unit; stands above the panels.
        y_limits: ends of the vertical axis; by default None, for what the lines need.
        steps: whether a value holds until the next one.
        x_ticks: where to number the horizontal axis; by default None, for round numbers.
    """
    columns = 1 if len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    names = {line.name: line.series for _, lines in panels for line in lines}
    legend = 18 * -(-len(names) // 2) + 24
    panel = 200 if columns == 1 else 150
    height = legend + rows * panel + 30
    figure = svg.new_figure(height)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(
        left=46 / svg.WIDTH,
        right=1 - _MARGIN / svg.WIDTH,
        top=1 - (legend + (20 if columns > 1 else 4)) / height,
        bottom=40 / height,
        wspace=0.08,
        hspace=0.24,
    )
    for position, own in enumerate(axes.flat):
        if position >= len(panels):
            own.set_visible(False)
            continue
        title, lines = panels[position]
        own.grid(axis="y")
        own.set_axisbelow(True)
        own.tick_params(length=0, axis="y")
        own.xaxis.set_major_locator(MaxNLocator(4 if columns > 1 else 6))
        if x_ticks is not None:
            own.set_xticks(list(x_ticks), [f"{tick:g}" for tick in x_ticks])
        if columns > 1:
            title = svg.fitted(title, 0.42 * svg.WIDTH)
            own.set_title(title, fontsize=svg.FONT_SIZE, loc="left", pad=4)
            # The lowest panel of each column has numbers, whether or not the grid is full.
            own.xaxis.set_tick_params(labelbottom=position + columns >= len(panels))
        for line in lines:
            _draw_line(own, line, steps)
    if y_limits is not None:
        axes[0, 0].set_ylim(*y_limits)
    figure.text(0.0, 1 - 14 / height, y_axis, color=svg.FAINT)
    figure.text(0.5, 6 / height, x_axis, color=svg.FAINT, ha="center")
    _draw_legend(figure, names, height, 32)
    return figure


def share_chart(
    rows: Sequence[tuple[str, Sequence[float]]], parts: Sequence[str], text: str
) -> Figure:
    """Wholes that are split into the same parts, a row each, top first.

    Args:
        rows: name of each whole with its shares, which sum to 1, in the order of the parts.
        parts: what the shares are of.
        text: what a whole is, below the axis.
    """
    top = 18 * -(-len(parts) // 2) + 10
    height = top + _ROW * len(rows) + 46
    figure = svg.new_figure(height)
    axes = _axes(figure, height, top=top, bottom=44)
    axes.set_xlim(0, 100)
    axes.set_ylim(_ROW * len(rows), 0)
    axes.set_yticks([])
    for number, (name, shares) in enumerate(rows):
        y = float(_ROW * number)
        words = " / ".join(f"{100 * share:.0f}" for share in shares)
        room = svg.WIDTH - 2 * _MARGIN - _GAP - svg.text_width(f"{words} %")
        axes.text(0, y + 12, svg.fitted(name, room), va="center")
        axes.text(100, y + 12, f"{words} %", va="center", ha="right", color=svg.FAINT)
        start = 0.0
        for series, share in enumerate(shares):
            axes.add_patch(_surface(start, y + 21, 100 * share, 12, series))
            start += 100 * share
    axes.set_xlabel(text)
    figure.canvas.draw()
    for series, part in enumerate(parts):
        x, y = _legend_place(series, height, 12)
        figure.add_artist(_surface(x, y - 5 / height, 24 / svg.WIDTH, 10 / height, series))
        figure.text(x + 30 / svg.WIDTH, y, part, va="center_baseline")
    return figure


# -- pieces ------------------------------------------------------------------------------------


def _axes(figure: Figure, height: float, top: float, bottom: float) -> Axes:
    """Axes over the whole width, between a number of pixels from above and from below."""
    width = 1 - 2 * _MARGIN / svg.WIDTH
    return figure.add_axes(
        (_MARGIN / svg.WIDTH, bottom / height, width, (height - top - bottom) / height)
    )


def _limits(rows: Sequence[IntervalRow], margin: float | None) -> tuple[float, float]:
    values = [row.value for row in rows] + [dot for row in rows for dot in row.dots]
    values += [end for row in rows if row.interval is not None for end in row.interval]
    values += [] if margin is None else [-1.5 * margin, 1.5 * margin]
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    least, most = min(finite), max(finite)
    room = 0.04 * (most - least) or 1.0
    return least - room, most + room


def _draw_row(axes: Axes, row: IntervalRow, top: float, bars: bool) -> None:
    color = svg.series_color(row.series)
    middle = top + 26
    # Names lie in the coordinates of the whole width, whatever the limits are.
    across = axes.get_yaxis_transform()
    width = svg.WIDTH - 2 * _MARGIN
    text = svg.fitted(row.text, 0.6 * width)
    name = svg.fitted(row.name, width - _GAP - svg.text_width(text), bold=True)
    axes.text(0, top + 11, name, transform=across, va="center", fontweight="bold")
    axes.text(1, top + 11, text, transform=across, va="center", ha="right")
    if row.sums_up:
        axes.axhline(top, color=svg.FAINT, linewidth=1)
    if bars:
        axes.add_patch(_surface(0, middle - 6, row.value, 12, row.series))
    for dot in row.dots:
        axes.plot(
            [dot], [middle + 8], marker="|", markersize=6, color=color, markeredgewidth=1.4,
        )  # fmt: skip
    if row.interval is not None and all(math.isfinite(end) for end in row.interval):
        low, high = row.interval
        # A rim of the ground keeps the line apart from the bar beneath it.
        for shade, thickness in ((svg.SURFACE, 5.5), (svg.INK if bars else color, 2.5)):
            axes.plot([low, high], [middle, middle], color=shade, linewidth=thickness)
            axes.plot(
                [low, high], [middle, middle], color=shade, linestyle="", marker="|",
                markersize=10, markeredgewidth=thickness - 0.5,
            )  # fmt: skip
    if not bars:
        axes.plot(
            [row.value], [middle], marker=_marker(row.series), markersize=9, color=color,
            markeredgecolor=svg.SURFACE, markeredgewidth=1.2,
        )  # fmt: skip


def _draw_line(axes: Axes, line: Line, steps: bool) -> None:
    color = svg.series_color(line.series)
    if line.low is not None and line.high is not None:
        axes.fill_between(
            line.x, line.low, line.high, color=color, alpha=0.12, linewidth=0,
            step="post" if steps else None,
        )  # fmt: skip
    axes.plot(
        line.x, line.y, color=color, linewidth=2, linestyle=_dashes(line.series),
        drawstyle="steps-post" if steps else "default",
        marker=_marker(line.series), markersize=6, markeredgecolor=svg.SURFACE,
        markevery=max(1, len(line.x) // 5),
    )  # fmt: skip


def _draw_legend(figure: Figure, names: dict[str, int], height: float, top: float) -> None:
    for position, (name, series) in enumerate(names.items()):
        x, y = _legend_place(position, height, top)
        figure.add_artist(
            Line2D(
                [x, x + 28 / svg.WIDTH], [y, y], color=svg.series_color(series), linewidth=2,
                linestyle=_dashes(series), marker=_marker(series), markersize=6, markevery=(0, 2),
                markeredgecolor=svg.SURFACE,
            )
        )  # fmt: skip
        text = svg.fitted(name, _column() - 36 - _GAP)
        figure.text(x + 36 / svg.WIDTH, y, text, va="center_baseline")


def _legend_place(position: int, height: float, top: float) -> tuple[float, float]:
    """Where an entry of a legend in two columns begins, as parts of the figure."""
    row, column = divmod(position, 2)
    return (_MARGIN + _column() * column) / svg.WIDTH, 1 - (top + 18 * row) / height


def _column() -> float:
    """Width of an entry of a legend, pixels."""
    return (svg.WIDTH - 2 * _MARGIN) / 2


def _surface(x: float, y: float, width: float, height: float, series: int) -> Rectangle:
    return Rectangle(
        (x, y), width, height,
        facecolor=svg.series_color(series), edgecolor=svg.SURFACE, linewidth=0,
        hatch=svg.HATCHES[series % svg.SERIES],
    )  # fmt: skip


def _marker(series: int) -> str:
    return svg.MARKERS[series % svg.SERIES]


def _dashes(series: int) -> svg.Dashes:
    return svg.DASHES[series % svg.SERIES]
