"""Draws the floors of the code for the page on architecture.

    python docs/figures/floors.py

It writes ``docs/images/floors_light.svg`` and ``floors_dark.svg``.
"""

from theme import FONT, MONOSPACED, Theme, write_both

_WIDTH, _HEIGHT = 900, 456
_LEFT, _RIGHT = 20, 880
_FLOOR, _GAP = 76, 14

FLOORS = (
    (("Commands", "train_bc  collect  render  rollout  benchmark  pretrain.run  prepare ..."),),
    (
        (
            "Rooms that commands share",
            "egodtm_robot/: demos  encoders  learning  evaluation  comparison",
        ),
    ),
    (
        ("policies/", "how to act"),
        ("pretrain/", "video, texts, depth"),
        ("envs/", "where to act"),
    ),
    (
        (
            "Core",
            "egodtm_robot/core/: storage  drawing  training  processes  configuration ...",
        ),
    ),
    (("Libraries", "numpy  torch  mujoco  gymnasium  zarr  transformers"),),
)
"""Each floor from the top down, as rooms with a title and what lies in them."""


def draw(theme: Theme) -> str:
    """The figure as SVG: each floor imports only from the floors below it."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="{FONT}" font-size="14">'
    ]
    for number, rooms in enumerate(FLOORS):
        y = 6 + number * (_FLOOR + _GAP)
        width = (_RIGHT - _LEFT - _GAP * (len(rooms) - 1)) / len(rooms)
        for place, (title, content) in enumerate(rooms):
            x = round(_LEFT + place * (width + _GAP))
            own = title not in ("Libraries",)
            fill, edge = (theme.stored, theme.stored_edge) if own else ("none", theme.grid)
            parts += [
                f'<rect x="{x}" y="{y}" width="{round(width)}" height="{_FLOOR}" rx="6" '
                f'fill="{fill}" stroke="{edge}" stroke-width="1.5"/>',
                f'<text x="{x + 16}" y="{y + 31}" fill="{theme.text}" font-size="16" '
                f'font-weight="bold">{title}</text>',
                f'<text x="{x + 16}" y="{y + 55}" fill="{theme.faint}" '
                f'font-family="{MONOSPACED}" font-size="12.5" xml:space="preserve">'
                f"{content}</text>",
            ]
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    write_both("floors", draw)
