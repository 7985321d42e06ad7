"""Matplotlib's figures as SVG for a page: colors are variables of the page, text stays text.

A figure is drawn once and shown in light and dark. It is therefore drawn in colors that stand for a
role, and each of them is replaced by a CSS variable of that role.
"""

import html
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

Dashes = Literal["-"] | tuple[int, tuple[float, ...]]
"""A line's dashes: none, or the lengths of dashes and gaps in line widths, from an offset on."""

INK = "#000001"
"""Stands for the color of text."""

FAINT = "#000002"
"""Stands for the color of axes and of what is said by the way."""

GRID = "#000003"
"""Stands for the color of grid lines and bands."""

SURFACE = "#000004"
"""Stands for the color of what the chart lies on."""

WIDTH = 360
"""Of every chart, pixels: it fits a phone nearly at its own size, so that text stays legible."""

FONT_SIZE = 12
"""Pixels, at the chart's own size."""

SERIES = 8
"""Series that have a color, a marker, a line and a pattern of their own; further ones repeat."""

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p")
"""Tells series apart without color."""

DASHES: tuple[Dashes, ...] = (
    "-", (0, (6, 2)), (0, (2, 2)), (0, (7, 2, 2, 2)),
    (0, (10, 3)), (0, (4, 2, 1, 2, 1, 2)), (0, (1, 2)), (0, (12, 2, 2, 2)),
)  # fmt: skip
"""Of lines, likewise."""

HATCHES = ("", "////", "\\\\\\\\", "xxxx", "----", "||||", "++++", "//--")
"""Of surfaces, likewise."""

_ROLES = {INK: "ink", FAINT: "faint", GRID: "grid", SURFACE: "surface"}
_SETTINGS: dict[Any, Any] = {
    "font.size": FONT_SIZE,
    "svg.fonttype": "none",
    # The same figure gives the same bytes.
    "svg.hashsalt": "egodtm-robot",
    # Names come from elsewhere: a dollar sign begins no formula.
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": FAINT,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 1,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "hatch.linewidth": 0.8,
    "path.simplify": True,
}


def series_color(series: int) -> str:
    """Stands for the color of a series."""
    return f"#0001{series % SERIES:02x}"


@contextmanager
def chart_style() -> Iterator[None]:
    """Draw figures in the style of the page."""
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # The browser has the letters that the font here lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def new_figure(height: float) -> Figure:
    """An empty figure, :data:`WIDTH` wide.

    Args:
        height: pixels.
    """
    # A point of the SVG is a pixel of the page.
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
    figure.patch.set_alpha(0)
    FigureCanvasSVG(figure)
    return figure


def to_svg(figure: Figure, key: str, title: str, description: str) -> str:
    """The figure as an SVG element to stand in a page.

    Args:
        figure: drawn within :func:`chart_style`.
        key: of the chart in the page; begins each of its ids.
        title: read aloud in the figure's place.
        description: read aloud after the title.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # The style of one figure would hold for the whole page.
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{key}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{key}-", text)
    text = re.sub(r"#0000(0[1-4])\b", lambda match: f"var(--{_ROLES['#0000' + match[1]]})", text)
    text = re.sub(r"#0001([0-9a-f]{2})\b", lambda match: f"var(--series-{int(match[1], 16)})", text)
    # The page says which fonts there are.
    text = re.sub(r"font-family: [^;\"]*; ", "", text)
    text = re.sub(r"\n\s*", "\n", text)
    head = (
        f'<svg viewBox="0 0 {figure.get_figwidth() * 72:g} {figure.get_figheight() * 72:g}" '
        f'role="img" aria-labelledby="{key}-title {key}-description">'
        f'<title id="{key}-title">{html.escape(title)}</title>'
        f'<desc id="{key}-description">{html.escape(description)}</desc>'
    )
    return re.sub(r"^<svg[^>]*>", lambda _: head, text).strip()


def text_width(text: str, bold: bool = False) -> float:
    """Width of a line of text in a chart, pixels.

    It is that in the font of the drawing library, which is wider than those of most browsers.

    Args:
        text: of one line.
        bold: whether it is written in bold.
    """
    font = FontProperties(size=FONT_SIZE, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def fitted(text: str, width: float, bold: bool = False) -> str:
    """The text with as much of its middle left out as makes it fit.

    Args:
        text: of one line.
        width: that there is, pixels.
        bold: whether it is written in bold.
    """
    whole, left_out = text, 0
    while text_width(text, bold) > width:
        left_out += 1
        kept = len(whole) - left_out
        if kept < 2:
            break
        text = (
            f"{whole[: kept - kept // 2]}\N{HORIZONTAL ELLIPSIS}{whole[len(whole) - kept // 2 :]}"
        )
    return text
