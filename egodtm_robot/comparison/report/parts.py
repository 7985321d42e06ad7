"""What a page is made of: charts with the table of their numbers, tables, and numbers in words."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from egodtm_robot.comparison.arms import Condition
from egodtm_robot.comparison.comparison import PairResult
from egodtm_robot.comparison.inference.estimate import MeanEstimate
from egodtm_robot.comparison.report.svg import to_svg
from egodtm_robot.core.intervals import Interval

MINUS = "\N{MINUS SIGN}"
"""As wide as a plus, and read aloud as a minus."""

UNKNOWN = "\N{EN DASH}"
"""Stands where a number is not known."""

NO_BREAK = "\N{NO-BREAK SPACE}"
"""Keeps both ends of an interval on one line."""


@dataclass(frozen=True)
class Table:
    """Numbers in rows and columns.

    Attributes:
        caption: what it shows.
        head: names of the columns; the first names the rows.
        rows: texts, as many a row as ``head`` has.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Chart:
    """A drawing with the numbers that it shows.

    Attributes:
        key: names it in the page.
        title: above it.
        drawing: the SVG element, whose texts are escaped.
        caption: how it is read.
        table: its numbers.
    """

    key: str
    title: str
    drawing: str
    caption: str
    table: Table


def make_chart(
    figure: Figure, key: str, title: str, description: str, caption: str, table: Table
) -> Chart:
    """A chart of a figure.

    Args:
        figure: drawn within :func:`~egodtm_robot.comparison.report.svg.chart_style`.
        key: names it in the page.
        title: above it.
        description: what it shows, for those who hear the page.
        caption: how it is read.
        table: its numbers.
    """
    return Chart(key, title, to_svg(figure, key, title, description), caption, table)


def pair_name(pair: PairResult) -> str:
    """A pair as a difference: the first arm minus the second."""
    return f"{pair.first} {MINUS} {pair.second}"


def condition_name(condition: Condition, among: Sequence[Condition]) -> str:
    """A short name for a condition: what tells it from the others.

    Args:
        condition: one of ``among``.
        among: all of a comparison.
    """
    parts = [environment_name(condition.environment, {one.environment for one in among})]
    for name in ("look", "resets"):
        if len({getattr(one, name) for one in among}) > 1:
            parts.append(f"{name} {getattr(condition, name)}")
    return ", ".join(parts)


def environment_name(environment: str, among: Collection[str]) -> str:
    """The name of an environment without the beginning that all share: ``microwave``.

    Args:
        environment: one of ``among``.
        among: names of environments, words of which are joined by underscores.
    """
    words = [name.split("_") for name in set(among)]
    shared = 0
    while (
        len(words) > 1
        and len({one[shared] for one in words}) == 1
        # A number alone names nothing.
        and all(len(one) > shared + 1 and not one[shared + 1].isdigit() for one in words)
    ):
        shared += 1
    return " ".join(environment.split("_")[shared:])


def percent(value: float, digits: int = 0) -> str:
    """A share of 1 in percent, without the sign; a dash where it is not known."""
    return number(100 * value, digits)


def points(value: float, digits: int = 1) -> str:
    """A difference of shares in percent points with its sign."""
    return number(100 * value, digits, sign=True)


def number(value: float, digits: int, sign: bool = False) -> str:
    """A number with a minus as wide as a plus; a dash where it is not finite."""
    if not math.isfinite(value):
        return UNKNOWN
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}"
    return text.replace("-", MINUS)


def interval_text(interval: Interval, digits: int, sign: bool = False, scale: float = 100) -> str:
    """Both ends in brackets, in percent by default."""
    low, high = (number(scale * end, digits, sign) for end in interval)
    return f"[{low},{NO_BREAK}{high}]"


def estimate_text(
    estimate: MeanEstimate, digits: int = 1, sign: bool = False, scale: float = 100
) -> str:
    """A value with its interval, in percent by default."""
    value = number(scale * estimate.value, digits, sign)
    return f"{value} {interval_text(estimate.interval, digits, sign, scale)}"


def p_text(p_value: float, alone: bool = False) -> str:
    """A p-value: ``= 0.013`` or ``< 0.001``.

    Args:
        p_value: in [0, 1]; NaN for a test that could not be made.
        alone: whether no ``p`` stands before it, so that it needs no equals sign.
    """
    if not math.isfinite(p_value):
        return "unknown"
    if p_value < 0.001:
        return f"<{NO_BREAK}0.001"
    text = f"{p_value:.{2 if p_value >= 0.1 else 3}f}"
    return text if alone else f"={NO_BREAK}{text}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def counted(count: int, noun: str) -> str:
    """A number with its noun: ``1 run``, ``2 runs``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
