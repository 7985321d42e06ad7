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

_PANEL, _GAP, _LEFT, _TOP, _BOTTOM = 200, 50, 50, 70, 230
_HEIGHT = 280


def draw(theme: Theme) -> str:
    """Learning curves as SVG, a panel a task: thin for each run seed, thick for their mean."""
    tasks = json.loads(RESULTS.read_text())["checkpoints_by_task"]
    width = _LEFT + len(tasks) * (_PANEL + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" '
        f'width="{width}" height="{_HEIGHT}" font-family="{FONT}" font-size="13">',
        f'<text x="15" y="24" fill="{theme.text}" font-size="15" font-weight="bold">'
        "Success in percent while SAC corrects a clone</text>",
    ]
    for number, (task, seeds) in enumerate(tasks.items()):
        left = _LEFT + number * (_PANEL + _GAP)
        parts += _panel(theme, task.replace("_", " "), list(seeds.values()), left, number == 0)
    parts.append(
        f'<text x="{width // 2}" y="{_HEIGHT - 10}" fill="{theme.text}" text-anchor="middle">'
        "steps of experience</text></svg>"
    )
    return "\n".join(parts) + "\n"


def _panel(
    theme: Theme,
    task: str,
    runs: Sequence[Sequence[dict[str, int]]],
    left: int,
    labeled: bool,
) -> list[str]:
    """The curves of one task, whose panel begins at x = ``left``."""
    last = runs[0][-1]["step"]

    def place(step: int, percent: float) -> tuple[float, float]:
        x = left + _PANEL * step / last
        return round(x, 1), round(_BOTTOM - (_BOTTOM - _TOP) * percent / 100, 1)

    parts = [
        f'<text x="{left + _PANEL // 2}" y="{_TOP - 15}" fill="{theme.text}" '
        f'text-anchor="middle">{task}</text>'
    ]
    for percent in (0, 25, 50, 75, 100):
        x, y = place(0, percent)
        parts.append(
            f'<line x1="{x}" y1="{y}" x2="{left + _PANEL}" y2="{y}" stroke="{theme.grid}"/>'
        )
        if labeled:
            parts.append(
                f'<text x="{x - 8}" y="{y + 4}" fill="{theme.faint}" text-anchor="end">'
                f"{percent}</text>"
            )
    for step in (0, last // 2, last):
        parts.append(
            f'<text x="{place(step, 0)[0]}" y="{_BOTTOM + 20}" fill="{theme.faint}" '
            f'text-anchor="middle">{step:,}</text>'
        )
    for run in runs:
        line = _line(place(one["step"], _percent([one])) for one in run)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{theme.plain}"/>')
    means = [place(same[0]["step"], _percent(same)) for same in zip(*runs, strict=True)]
    parts += [f'<circle cx="{x}" cy="{y}" r="4" fill="{theme.stored_edge}"/>' for x, y in means]
    parts.append(
        f'<polyline points="{_line(means)}" fill="none" stroke="{theme.stored_edge}" '
        'stroke-width="2.5"/>'
    )
    return parts


def _percent(checkpoints: Sequence[dict[str, int]]) -> float:
    """Success of checkpoints together."""
    episodes = sum(one["episodes"] for one in checkpoints)
    return 100 * sum(one["successes"] for one in checkpoints) / episodes


def _line(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


if __name__ == "__main__":
    write_both("reinforcement", draw)
