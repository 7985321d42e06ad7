"""Draws the chart of the README from the stored results of the benchmark.

    python docs/figures/results_chart.py

It reads ``docs/results/benchmark.json``, the ``table.json`` of a benchmark or percent that were
written down by hand, and writes ``docs/images/results_light.svg`` and ``results_dark.svg``. A test
compares the pictures in the repository with what this script draws.
"""

import json
from pathlib import Path
from typing import Any

from theme import FONT, Theme, write_both

RESULTS = Path(__file__).parents[1] / "results" / "benchmark.json"

NAMES = {
    "none": "no images, the floor",
    "efficientnet_lite0_random": "EfficientNet, random weights",
    "vit_tiny_random": "ViT-Tiny, random weights",
    "pixels": "16 x 16 gray pixels",
    "efficientnet_lite0": "EfficientNet, ImageNet",
    "egodtm": "EgoDTM-tiny (this project)",
    "oracle": "simulator state, the ceiling",
}
"""What the chart calls each encoder; others have their own names."""

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 760, 260, 690, 52, 34


def read_means(content: dict[str, Any]) -> dict[str, list[int]]:
    """Mean success of each encoder in percent with its interval: value, low, high.

    Args:
        content: of a benchmark's ``table.json``, whose ``rows`` are in the order of the grid, or of
            a file with percent under ``encoders``.
    """
    if "encoders" in content:
        return {name: row["mean"] for name, row in content["encoders"].items()}
    found = {arm["name"]: arm["mean"] for arm in content["arms"] if arm["mean"] is not None}
    order = content.get("rows", list(reversed(found)))
    return {
        name: [round(100 * part) for part in (found[name]["value"], *found[name]["interval"])]
        for name in order
        if name in found
    }


def draw(theme: Theme) -> str:
    """The chart as SVG: the mean success of each encoder with its 95 % interval."""
    means = read_means(json.loads(RESULTS.read_text()))
    bottom = _TOP + _ROW * len(means)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 34}" '
        f'width="{_WIDTH}" height="{bottom + 34}" font-family="{FONT}" font-size="14">',
        f'<text x="20" y="22" fill="{theme.text}" font-size="15" font-weight="bold">'
        "Success in percent, mean of five tasks, with 95 % intervals</text>",
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
    for number, (encoder, mean) in enumerate(means.items()):
        parts += _row(theme, encoder, mean, _TOP + _ROW * number + _ROW // 2)
    return "\n".join([*parts, "</svg>", ""])


def _row(theme: Theme, encoder: str, mean: list[int], y: int) -> list[str]:
    value, low, high = mean
    own = encoder == "egodtm"
    color = theme.stored_edge if own else theme.plain
    weight = ' font-weight="bold"' if own else ""
    return [
        f'<text x="{_LEFT - 14}" y="{y + 5}" fill="{theme.text}" text-anchor="end"{weight}>'
        f"{NAMES.get(encoder, encoder)}</text>",
        f'<rect x="{_LEFT}" y="{y - 9}" width="{_x(value) - _LEFT}" height="18" rx="2" '
        f'fill="{color}" fill-opacity="0.75"/>',
        f'<path d="M{_x(low)} {y}H{_x(high)}M{_x(low)} {y - 6}v12M{_x(high)} {y - 6}v12" '
        f'stroke="{theme.text}" stroke-width="1.5" fill="none"/>',
        f'<text x="{_RIGHT + 26}" y="{y + 5}" fill="{theme.text}"{weight}>{value}</text>',
    ]


def _x(percent: float) -> int:
    return round(_LEFT + percent / 100 * (_RIGHT - _LEFT))


if __name__ == "__main__":
    write_both("results", draw)
