"""Colors of the documentation's figures, and how a figure is written for light and dark pages."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

IMAGES = Path(__file__).parents[1] / "images"
"""The folder that holds every picture of the documentation."""

FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
MONOSPACED = "Menlo, Consolas, 'DejaVu Sans Mono', monospace"


@dataclass(frozen=True)
class Theme:
    """Colors of one page background.

    Attributes:
        name: last part of the file name of a figure in this theme.
        text: color of labels.
        faint: color of secondary text, axes and arrows.
        grid: color of grid lines and of the frames of processes.
        stored: fill of what lies on disk.
        stored_edge: frame of what lies on disk, and the color of highlighted results.
        plain: color of results that are not highlighted.
    """

    name: str
    text: str
    faint: str
    grid: str
    stored: str
    stored_edge: str
    plain: str


LIGHT = Theme("light", "#1f2933", "#5f6b7a", "#c8d0da", "#e3effb", "#2f74c0", "#8593a5")
DARK = Theme("dark", "#e6eaf0", "#a3afbf", "#4a5568", "#1d3450", "#6cb2f5", "#8593a5")


def write_both(name: str, draw: Callable[[Theme], str]) -> None:
    """Write ``NAME_light.svg`` and ``NAME_dark.svg``, and print where they are."""
    for theme in (LIGHT, DARK):
        path = IMAGES / f"{name}_{theme.name}.svg"
        path.write_text(draw(theme))
        print(path)
