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

NAMES = {"egodtm": "EgoDTM-tiny", "efficientnet_lite0": "ImageNet (EfficientNet-Lite0)"}

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 60, 520, 52, 300
_SIDESTEP = 5
"""Pixels that a series is moved aside, so that intervals do not hide one another."""


def read_points() -> dict[str, dict[int, ArmResult]]:
    """For each encoder its result at each number of demonstrations."""
    points: dict[str, dict[int, ArmResult]] = {name: {} for name in NAMES}
    few, curve = _compared("few"), _compared("curve", allow_mixed=True)
    trained_looks = _compared("shifted", split="look")
    for name, series in points.items():
        series[10] = curve.arm(f"{name},demos.episodes=10")
        series[25] = few.arm(name)
        series[50] = curve.arm(f"{name},demos.episodes=50")
        series[100] = trained_looks.arm(f"{name} (varied)")
    return points


def draw(theme: Theme) -> str:
    """The chart as SVG: mean success of five tasks with its 95 % interval."""
    points = read_points()
    numbers = list(points["egodtm"])
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
        color, dashes = (theme.stored_edge, "") if row == 0 else (theme.plain, "6 4")
        parts += _series(color, dashes, list(series.values()), _SIDESTEP * (2 * row - 1))
        parts.append(
            f'<path d="M{_RIGHT + 24} {_TOP + 20 + 26 * row}h28" stroke="{color}" stroke-width="3" '
            f'stroke-dasharray="{dashes}"/>'
        )
        parts.append(
            f'<text x="{_RIGHT + 60}" y="{_TOP + 25 + 26 * row}" fill="{theme.text}" '
            f'font-size="12">{NAMES[name]}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _series(color: str, dashes: str, results: list[ArmResult], aside: int) -> list[str]:
    means = [result.mean for result in results if result.mean is not None]
    places = [_x(place, len(means)) + aside for place in range(len(means))]
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
