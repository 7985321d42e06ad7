"""Draws how often a clone succeeds while it practices.

    python docs/figures/reinforcement_chart.py

It reads ``docs/results/reinforcement.json`` and writes ``docs/images/reinforcement_light.svg`` and
``reinforcement_dark.svg``.
"""

import json
from pathlib import Path

from theme import FONT, Theme, write_both

RESULTS = Path(__file__).parents[1] / "results" / "reinforcement.json"

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 560, 280, 60, 50, 230


def draw(theme: Theme) -> str:
    """The learning curve as SVG: success on selection episodes by steps of experience."""
    points = json.loads(RESULTS.read_text())["checkpoints"]
    last = points[-1]["step"]

    def place(step: int, percent: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - 30) * step / last
        return round(x, 1), round(_BOTTOM - (_BOTTOM - _TOP) * percent / 100, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="{FONT}" font-size="13">',
        f'<text x="15" y="24" fill="{theme.text}" font-size="15" font-weight="bold">'
        "Success on 20 selection episodes while SAC corrects a clone, percent</text>",
    ]
    for percent in (0, 25, 50, 75, 100):
        x, y = place(0, percent)
        parts.append(
            f'<line x1="{x}" y1="{y}" x2="{_WIDTH - 30}" y2="{y}" stroke="{theme.grid}"/>'
            f'<text x="{x - 8}" y="{y + 4}" fill="{theme.faint}" text-anchor="end">{percent}</text>'
        )
    curve = []
    for point in points:
        x, y = place(point["step"], 100 * point["successes"] / point["episodes"])
        curve.append(f"{x},{y}")
        parts.append(
            f'<circle cx="{x}" cy="{y}" r="4" fill="{theme.stored_edge}"/>'
            f'<text x="{x}" y="{_BOTTOM + 20}" fill="{theme.faint}" text-anchor="middle">'
            f"{point['step']:,}</text>"
        )
    parts.append(
        f'<polyline points="{" ".join(curve)}" fill="none" stroke="{theme.stored_edge}" '
        'stroke-width="2"/>'
        f'<text x="{_WIDTH // 2}" y="{_HEIGHT - 10}" fill="{theme.text}" text-anchor="middle">'
        "steps of experience</text></svg>"
    )
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    write_both("reinforcement", draw)
