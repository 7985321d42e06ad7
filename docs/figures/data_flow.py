"""Draws the way of the data from video and expert to success rate, for the page on concepts.

    python docs/figures/data_flow.py

It writes ``docs/images/data_flow_light.svg`` and ``data_flow_dark.svg``.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from theme import FONT, MONOSPACED, Theme, write_both

_COLUMNS = (20, 305, 590, 875)
_LANES = (60, 262, 464)
_BOX_WIDTH, _BOX_HEIGHT = 245, 122
_WIDTH, _HEIGHT = 1140, 656

_DEMO = json.loads((Path(__file__).parents[1] / "results" / "demo.json").read_text())


@dataclass(frozen=True)
class Box:
    """One step of the way.

    Attributes:
        column: its place from left to right.
        lane: its place from top to bottom.
        title: its name.
        lines: what it does, or the arrays that it holds.
        stored: whether it lies on disk; otherwise it is work that is done.
    """

    column: int
    lane: int
    title: str
    lines: tuple[str, ...]
    stored: bool = False


BOXES = (
    Box(0, 0, "Video and narrations", ("Ego4D, EPIC, your own folder,", "or drawn kitchens")),
    Box(
        1,
        0,
        "Clip store",
        ("frames (C, T, H, W, 3) uint8", "depth  (C, T, h, w)", "masks, boxes, captions"),
        stored=True,
    ),
    Box(2, 0, "Pretraining", ("clips meet their texts,", "patches learn depth")),
    Box(
        3,
        0,
        "Encoder checkpoint",
        ("weights NAME.safetensors", "card    NAME.json"),
        stored=True,
    ),
    Box(0, 1, "Environment and expert", ("scripted, with noise on what is", "executed (DART)")),
    Box(
        1,
        1,
        "Demonstration store",
        (
            "rgb/<camera> (N, H, W, 3) uint8",
            "proprioception (N, P)",
            "actions (N, A)",
            "states (N, S)",
        ),
        stored=True,
    ),
    Box(
        2,
        1,
        "Features",
        ("features/<fingerprint>/<camera>", "(N, L, D) float32"),
        stored=True,
    ),
    Box(
        3,
        1,
        "Policy",
        ("behavior cloning on features;", "plans (B, C, A) actions"),
        stored=True,
    ),
    Box(3, 2, "Rollouts", ("fresh episode seeds; the same", "frozen encoder runs live")),
    Box(
        2,
        2,
        "Outcomes",
        ("one row for each episode:", "seed, success, steps, film"),
        stored=True,
    ),
    Box(1, 2, "Comparison", ("differences between encoders", "or policies, with intervals")),
    Box(
        0,
        2,
        "Success rate",
        (
            "{successes} of {episodes} episodes".format(**_DEMO),
            "{:.1f} %, interval {:.1f} to {:.1f} %".format(*_DEMO["success_percent"]),
        ),
    ),
)

LANE_TITLES = ("1  Pretrain an encoder", "2  Learn a policy", "3  Evaluate it")


def draw(theme: Theme) -> str:
    """The figure as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="{FONT}" font-size="14">',
        f'<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" '
        f'fill="{theme.faint}"/></marker></defs>',
    ]
    for title, y in zip(LANE_TITLES, _LANES, strict=True):
        parts.append(
            f'<text x="{_COLUMNS[0]}" y="{y - 16}" fill="{theme.faint}" font-size="16" '
            f'font-weight="bold">{title}</text>'
        )
    for box in BOXES:
        parts += _box(theme, box)
    for column in range(3):
        parts += [_across(theme, column, 0), _across(theme, column, 1)]
        parts.append(_across(theme, column, 2, leftward=True))
    middle = _BOX_WIDTH // 2
    x_encoder, x_features = _COLUMNS[3] + middle, _COLUMNS[2] + middle
    between = _LANES[1] - 40
    parts.append(
        _arrow(
            theme,
            f"M{x_encoder} {_LANES[0] + _BOX_HEIGHT}V{between}H{x_features}V{_LANES[1] - 3}",
        )
    )
    parts.append(
        f'<text x="{(x_encoder + x_features) // 2}" y="{between - 8}" fill="{theme.faint}" '
        'text-anchor="middle">frozen</text>'
    )
    parts.append(_arrow(theme, f"M{x_encoder} {_LANES[1] + _BOX_HEIGHT}V{_LANES[2] - 3}"))
    parts += _legend(theme)
    return "\n".join([*parts, "</svg>", ""])


def _box(theme: Theme, box: Box) -> list[str]:
    x, y = _COLUMNS[box.column], _LANES[box.lane]
    fill, edge = (theme.stored, theme.stored_edge) if box.stored else ("none", theme.grid)
    parts = [
        f'<rect x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="8" '
        f'fill="{fill}" stroke="{edge}" stroke-width="1.5"/>',
        f'<text x="{x + 14}" y="{y + 27}" fill="{theme.text}" font-size="16" '
        f'font-weight="bold">{escape(box.title)}</text>',
    ]
    arrays = box.stored and box.title not in ("Policy", "Outcomes")
    font = f' font-family="{MONOSPACED}" font-size="11.5"' if arrays else ""
    for number, line in enumerate(box.lines):
        parts.append(
            f'<text x="{x + 14}" y="{y + 51 + 19 * number}" fill="{theme.text}"{font} '
            f'xml:space="preserve">{escape(line)}</text>'
        )
    return parts


def _across(theme: Theme, column: int, lane: int, leftward: bool = False) -> str:
    left, right = _COLUMNS[column] + _BOX_WIDTH, _COLUMNS[column + 1]
    y = _LANES[lane] + _BOX_HEIGHT // 2
    start, end = (right, left + 3) if leftward else (left, right - 3)
    return _arrow(theme, f"M{start} {y}H{end}")


def _arrow(theme: Theme, path: str) -> str:
    return (
        f'<path d="{path}" stroke="{theme.faint}" stroke-width="1.8" fill="none" '
        'marker-end="url(#head)"/>'
    )


def _legend(theme: Theme) -> list[str]:
    y = _HEIGHT - 36
    return [
        f'<rect x="{_COLUMNS[0]}" y="{y}" width="26" height="18" rx="4" fill="{theme.stored}" '
        f'stroke="{theme.stored_edge}" stroke-width="1.5"/>',
        f'<text x="{_COLUMNS[0] + 36}" y="{y + 14}" fill="{theme.faint}">lies on disk and can be '
        "used again</text>",
        f'<rect x="{_COLUMNS[1] + 50}" y="{y}" width="26" height="18" rx="4" fill="none" '
        f'stroke="{theme.grid}" stroke-width="1.5"/>',
        f'<text x="{_COLUMNS[1] + 86}" y="{y + 14}" fill="{theme.faint}">work that is done, or '
        "its result</text>",
    ]


if __name__ == "__main__":
    write_both("data_flow", draw)
