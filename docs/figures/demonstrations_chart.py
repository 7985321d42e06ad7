"""Draws success against the number of demonstrations, from the published outcomes.

    python docs/figures/demonstrations_chart.py

It reads the files of ``docs/results/outcomes/`` and writes ``docs/images/demonstrations_light.svg``
and ``demonstrations_dark.svg``. A test compares the pictures in the repository with what this
script draws.
"""

from pathlib import Path
from typing import Any

from theme import FONT, Theme, write_both

from egodtm_robot.comparison.comparison import ArmResult, Comparison
from egodtm_robot.comparison.request import ComparisonRequest, compare_paths

OUTCOMES = Path(__file__).parents[1] / "results" / "outcomes"

NAMES = {
    "egodtm_looks": "EgoDTM-tiny, two looks",
    "egodtm": "EgoDTM-tiny before",
    "efficientnet_lite0": "ImageNet (EfficientNet-Lite0)",
}
DASHES = ("", "2 4", "7 5")

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 60, 520, 52, 300
_SIDESTEP = 5
"""Pixels that a series is moved aside, so that intervals do not hide one another."""


def read_points() -> dict[str, dict[int, ArmResult]]:
    """For each encoder its result at each number of demonstrations that it was run with."""
    curve = _compared("curve", allow_mixed=True)
    measured = [
        (10, "{},demos.episodes=10", curve),
        (25, "{}", _compared("few")),
        (50, "{},demos.episodes=50", curve),
        (100, "{} (varied)", _compared("shifted", split="look")),
    ]
    points: dict[str, dict[int, ArmResult]] = {}
    for name in NAMES:
        points[name] = {
            number: arm
            for number, form, comparison in measured
            for arm in comparison.arms
            if arm.name == form.format(name)
        }
    return points


def draw(theme: Theme) -> str:
    """The chart as SVG: mean success of five tasks with its 95 % interval."""
    points = read_points()
    numbers = list(points["egodtm"])
    colors = (theme.stored_edge, theme.stored_edge, theme.plain)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_BOTTOM + 56}" '
        f'width="{_WIDTH}" height="{_BOTTOM + 56}" font-family="{FONT}" font-size="14">',
        f'<text x="20" y="22" fill="{theme.text}" font-size="15" font-weight="bold">'
        "Success in percent against demonstrations, mean of five tasks</text>",
        f'<text x="{(_LEFT + _RIGHT) // 2}" y="{_BOTTOM + 44}" fill="{theme.faint}" '
        'text-anchor="middle">demonstrations</text>',
    ]
    for percent in range(0, 101, 20):
        y = _y(percent / 100)
        parts += [
            f'<line x1="{_LEFT}" y1="{y}" x2="{_RIGHT}" y2="{y}" stroke="{theme.grid}"/>',
            f'<text x="{_LEFT - 10}" y="{y + 5}" fill="{theme.faint}" '
            f'text-anchor="end">{percent}</text>',
        ]
    parts += [
        f'<text x="{_x(place, len(numbers))}" y="{_BOTTOM + 22}" fill="{theme.faint}" '
        f'text-anchor="middle">{number}</text>'
        for place, number in enumerate(numbers)
    ]
    for row, (name, series) in enumerate(points.items()):
        color, dashes = colors[row], DASHES[row]
        parts += _series(color, dashes, series, numbers, _SIDESTEP * 2 * (row - 1))
        parts.append(
            f'<path d="M{_RIGHT + 24} {_TOP + 20 + 26 * row}h28" stroke="{color}" stroke-width="3" '
            f'stroke-dasharray="{dashes}"/>'
        )
        parts.append(
            f'<text x="{_RIGHT + 60}" y="{_TOP + 25 + 26 * row}" fill="{theme.text}" '
            f'font-size="12">{NAMES[name]}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _series(
    color: str, dashes: str, series: dict[int, ArmResult], numbers: list[int], aside: int
) -> list[str]:
    shown = {number: one.mean for number, one in series.items() if one.mean is not None}
    means = list(shown.values())
    places = [_x(numbers.index(number), len(numbers)) + aside for number in shown]
    line = "L".join(f"{x} {_y(mean.value)}" for x, mean in zip(places, means, strict=True))
    parts = [
        f'<path d="M{line}" stroke="{color}" stroke-width="2.5" stroke-dasharray="{dashes}" '
        'fill="none"/>'
    ]
    for x, mean in zip(places, means, strict=True):
        low, high = mean.interval
        parts += [
            f'<path d="M{x} {_y(low)}V{_y(high)}M{x - 4} {_y(low)}h8M{x - 4} {_y(high)}h8" '
            f'stroke="{color}" stroke-width="1.5" fill="none"/>',
            f'<circle cx="{x}" cy="{_y(mean.value)}" r="4" fill="{color}"/>',
        ]
    return parts


def _compared(name: str, **request: Any) -> Comparison:
    return compare_paths(ComparisonRequest([str(OUTCOMES / f"{name}.csv.gz")], **request))[1]


def _x(place: int, places: int) -> int:
    return round(_LEFT + 40 + place / (places - 1) * (_RIGHT - _LEFT - 80))


def _y(rate: float) -> int:
    return round(_BOTTOM - rate * (_BOTTOM - _TOP))


if __name__ == "__main__":
    write_both("demonstrations", draw)
