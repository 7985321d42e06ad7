"""Draws how often three kinds of intervals hold the true difference, in simulated studies.

    python docs/figures/statistics_chart.py

It reads ``docs/results/statistics.json`` and writes ``docs/images/statistics_light.svg`` and
``statistics_dark.svg``. A test compares the pictures in the repository with what this script draws.
"""

import json
from pathlib import Path
from typing import Any

from theme import FONT, Theme, write_both

RESULTS = Path(__file__).parents[1] / "results" / "statistics.json"

METHODS = {
    "coverage": "this project: run seeds as a whole",
    "bootstrap": "percentile bootstrap",
    "pooled": "run seeds and tasks as independent",
}
"""What the chart calls each kind of interval."""

_WIDTH, _TOP, _ROW = 760, 92, 26
_LOWEST = 40
_PANELS = {3: (250, 480), 6: (520, 745)}
"""Left and right end of each panel by its number of run seeds."""


def draw(theme: Theme) -> str:
    """The chart as SVG: coverage of intervals of 95 % by what is simulated."""
    rows: list[dict[str, Any]] = json.loads(RESULTS.read_text())["null"]
    cases = list(dict.fromkeys(_case(row) for row in rows))
    bottom = _TOP + _ROW * len(cases)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 34}" '
        f'width="{_WIDTH}" height="{bottom + 34}" font-family="{FONT}" font-size="13">',
        f'<text x="15" y="22" fill="{theme.text}" font-size="15" font-weight="bold">'
        "How often 95 % intervals hold the true difference, in percent of simulated studies</text>",
    ]
    x = 15
    for method, name in METHODS.items():
        parts.append(_mark(theme, method, x + 6, 43))
        parts.append(f'<text x="{x + 18}" y="47" fill="{theme.text}">{name}</text>')
        x += 50 + round(6.1 * len(name))
    for seeds, (left, right) in _PANELS.items():
        parts.append(
            f'<text x="{(left + right) // 2}" y="{_TOP - 18}" fill="{theme.text}" '
            f'text-anchor="middle" font-weight="bold">{seeds} run seeds</text>'
        )
        for percent in (40, 60, 80, 95, 100):
            x = _x(percent, left, right)
            wanted = percent == 95
            parts.append(
                f'<line x1="{x}" y1="{_TOP - 8}" x2="{x}" y2="{bottom}" '
                f'stroke="{theme.text if wanted else theme.grid}"/>'
            )
            if percent < 100:
                parts.append(
                    f'<text x="{x}" y="{bottom + 20}" fill="{theme.faint}" '
                    f'text-anchor="middle">{percent}</text>'
                )
    for number, case in enumerate(cases):
        y = _TOP + _ROW * number + _ROW // 2
        parts.append(
            f'<text x="{_PANELS[3][0] - 14}" y="{y + 5}" fill="{theme.text}" '
            f'text-anchor="end">{case}</text>'
        )
        for row in rows:
            if _case(row) == case and row["seeds"] in _PANELS:
                parts += [
                    _mark(theme, method, _x(100 * row[method], *_PANELS[row["seeds"]]), y)
                    for method in reversed(METHODS)
                ]
    return "\n".join([*parts, "</svg>", ""])


def _case(row: dict[str, Any]) -> str:
    success = f"{100 * row['rates'][0]:.0f} %"
    if row["deviation"] == 0:
        return f"{success}, training has no chance"
    spread = f"training ±{100 * row['deviation']:.0f}"
    return f"{success}, {spread}, {'tasks alike' if row['shared'] else 'each task'}"


def _mark(theme: Theme, method: str, x: float, y: int) -> str:
    if method == "coverage":
        return f'<circle cx="{x}" cy="{y}" r="5" fill="{theme.stored_edge}"/>'
    if method == "bootstrap":
        return f'<rect x="{x - 4}" y="{y - 4}" width="8" height="8" fill="{theme.plain}"/>'
    return (
        f'<path d="M{x - 4} {y - 4}L{x + 4} {y + 4}M{x - 4} {y + 4}L{x + 4} {y - 4}" '
        f'stroke="{theme.faint}" stroke-width="2"/>'
    )


def _x(percent: float, left: int, right: int) -> int:
    return round(left + (percent - _LOWEST) / (100 - _LOWEST) * (right - left))


if __name__ == "__main__":
    write_both("statistics", draw)
