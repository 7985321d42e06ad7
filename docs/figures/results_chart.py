"""Draws the chart of the README from the stored comparison under the protocol ``few``.

    python docs/figures/results_chart.py

It reads ``docs/results/few.json``, the ``compare.json`` of a comparison, and writes
``docs/images/results_light.svg`` and ``results_dark.svg``. A test compares the pictures in the
repository with what this script draws, and the numbers with the published outcomes.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theme import FONT, Theme, write_both

RESULTS = Path(__file__).parents[1] / "results" / "few.json"

NAMES = {
    "none": "no images, the floor",
    "pixels": "16 x 16 gray pixels",
    "efficientnet_lite0": "EfficientNet, ImageNet",
    "egodtm": "EgoDTM-tiny before",
    "egodtm_looks": "EgoDTM-tiny, two looks",
    "oracle": "simulator state, the ceiling",
}
"""What the chart calls each encoder; others have their own names."""

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 760, 260, 690, 52, 34


@dataclass(frozen=True)
class Bar:
    """One row of the chart.

    Attributes:
        arm: the encoder's name in the comparison.
        value: mean success in percent.
        interval: its 95 % interval in percent.
        letters: two rows that share one do not differ clearly.
    """

    arm: str
    value: float
    interval: tuple[float, float]
    letters: str


def read_bars(comparison: dict[str, Any]) -> list[Bar]:
    """The arms of a comparison that have a mean, lowest first.

    Args:
        comparison: content of its ``compare.json``.
    """
    bars = [
        Bar(
            arm["name"],
            100 * arm["mean"]["value"],
            (100 * arm["mean"]["interval"][0], 100 * arm["mean"]["interval"][1]),
            arm["letters"],
        )
        for arm in comparison["arms"]
        if arm["mean"] is not None
    ]
    return sorted(bars, key=lambda bar: bar.value)


def draw(theme: Theme) -> str:
    """The chart as SVG: the mean success of each encoder with its 95 % interval and letters."""
    bars = read_bars(json.loads(RESULTS.read_text()))
    bottom = _TOP + _ROW * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 34}" '
        f'width="{_WIDTH}" height="{bottom + 34}" font-family="{FONT}" font-size="14">',
        f'<text x="20" y="22" fill="{theme.text}" font-size="15" font-weight="bold">'
        "Success with 25 demonstrations, percent, mean of five tasks, 95 % intervals</text>",
    ]
    for percent in range(0, 101, 20):
        x = _x(percent)
        parts.append(
            f'<line x1="{x}" y1="{_TOP - 10}" x2="{x}" y2="{bottom}" stroke="{theme.grid}"/>'
        )
        parts.append(
            f'<text x="{x}" y="{bottom + 20}" fill="{theme.faint}" '
            f'text-anchor="middle">{percent}</text>'
        )
    for number, bar in enumerate(bars):
        parts += _row(theme, bar, _TOP + _ROW * number + _ROW // 2)
    return "\n".join([*parts, "</svg>", ""])


def _row(theme: Theme, bar: Bar, y: int) -> list[str]:
    low, high = bar.interval
    own = bar.arm == "egodtm_looks"
    color = theme.stored_edge if own else theme.plain
    weight = ' font-weight="bold"' if own else ""
    return [
        f'<text x="{_LEFT - 14}" y="{y + 5}" fill="{theme.text}" text-anchor="end"{weight}>'
        f"{NAMES.get(bar.arm, bar.arm)}</text>",
        f'<rect x="{_LEFT}" y="{y - 9}" width="{_x(bar.value) - _LEFT}" height="18" rx="2" '
        f'fill="{color}" fill-opacity="0.75"/>',
        f'<path d="M{_x(low)} {y}H{_x(high)}M{_x(low)} {y - 6}v12M{_x(high)} {y - 6}v12" '
        f'stroke="{theme.text}" stroke-width="1.5" fill="none"/>',
        f'<text x="{_RIGHT + 12}" y="{y + 5}" fill="{theme.text}"{weight}>'
        f'{bar.value:.0f} <tspan fill="{theme.faint}">{bar.letters}</tspan></text>',
    ]


def _x(percent: float) -> int:
    return round(_LEFT + percent / 100 * (_RIGHT - _LEFT))


if __name__ == "__main__":
    write_both("results", draw)
