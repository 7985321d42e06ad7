"""Draws how often a clone succeeds while it practices.

    python docs/figures/reinforcement_chart.py

It reads ``docs/results/reinforcement.json`` and writes ``docs/images/reinforcement_light.svg`` and
``reinforcement_dark.svg``.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from theme import FONT, Theme, write_both

RESULTS = Path(__file__).parents[1] / "results" / "reinforcement.json"

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 560, 280, 60, 50, 230


def draw(theme: Theme) -> str:
    """Learning curves as SVG: a thin line for each run seed, a thick one for their mean."""
    runs = list(json.loads(RESULTS.read_text())["checkpoints_by_seed"].values())
    last = runs[0][-1]["step"]

    def place(step: int, percent: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - 30) * step / last
        return round(x, 1), round(_BOTTOM - (_BOTTOM - _TOP) * percent / 100, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="{FONT}" font-size="13">',
        f'<text x="15" y="24" fill="{theme.text}" font-size="15" font-weight="bold">'
        "Success in percent while SAC corrects a clone</text>",
    ]
    for percent in (0, 25, 50, 75, 100):
        x, y = place(0, percent)
        parts.append(
            f'<line x1="{x}" y1="{y}" x2="{_WIDTH - 30}" y2="{y}" stroke="{theme.grid}"/>'
            f'<text x="{x - 8}" y="{y + 4}" fill="{theme.faint}" text-anchor="end">{percent}</text>'
        )
    for point in runs[0]:
        parts.append(
            f'<text x="{place(point["step"], 0)[0]}" y="{_BOTTOM + 20}" fill="{theme.faint}" '
            f'text-anchor="middle">{point["step"]:,}</text>'
        )
    for run in runs:
        line = _line(place(one["step"], _percent([one])) for one in run)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{theme.plain}"/>')
    means = [place(same[0]["step"], _percent(same)) for same in zip(*runs, strict=True)]
    parts += [f'<circle cx="{x}" cy="{y}" r="4" fill="{theme.stored_edge}"/>' for x, y in means]
    parts.append(
        f'<polyline points="{_line(means)}" fill="none" stroke="{theme.stored_edge}" '
        'stroke-width="2.5"/>'
        f'<text x="{_WIDTH // 2}" y="{_HEIGHT - 10}" fill="{theme.text}" text-anchor="middle">'
        "steps of experience</text></svg>"
    )
    return "\n".join(parts) + "\n"


def _percent(checkpoints: Sequence[dict[str, int]]) -> float:
    """Success of checkpoints together."""
    episodes = sum(one["episodes"] for one in checkpoints)
    return 100 * sum(one["successes"] for one in checkpoints) / episodes


def _line(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


if __name__ == "__main__":
    write_both("reinforcement", draw)
