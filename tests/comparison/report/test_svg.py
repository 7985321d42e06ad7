import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from egodtm_robot.comparison.report import svg
from egodtm_robot.comparison.report.charts import (
    IntervalRow,
    Line,
    interval_chart,
    line_chart,
    share_chart,
)
from egodtm_robot.comparison.report.svg import fitted, text_width, to_svg
from egodtm_robot.core.intervals import Interval

LINES = [
    Line(
        f"arm {series}", series, np.arange(5.0), np.full(5, float(series)), np.zeros(5), np.ones(5)
    )
    for series in range(10)
]


def interval_drawing():
    rows = [IntervalRow("$x^2$ <b>", 4.0, Interval(1, 7), "+4", 0, (2.0, 6.0))]
    return interval_chart(rows, "points", margin=3)


DRAWINGS = {
    "intervals": interval_drawing,
    "bars": lambda: interval_chart([IntervalRow("a", 4.0, None, "4", 3)], "percent", bars=True),
    "line": lambda: line_chart([("", LINES)], "step", "loss"),
    "panels": lambda: line_chart([(f"task {n}", LINES[:2]) for n in range(3)], "step", "loss"),
    "shares": lambda: share_chart([("a", (0.7, 0.3))], ("training", "episodes"), "percent"),
}


@pytest.fixture(scope="module", params=DRAWINGS)
def drawing(request):
    with svg.chart_style():
        return to_svg(DRAWINGS[request.param](), "key", 'A "title" & more', "A <description>")


def elements(text):
    return list(ElementTree.fromstring(text.replace("xlink:href", "href")).iter())


def test_every_color_is_a_variable_of_the_page(drawing):
    assert "var(--" in drawing
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?!-)", re.sub(r'(href="|url\()#[\w-]+', "", drawing))
    assert not re.search(r"\b(black|white)\b", drawing)


def test_a_drawing_has_its_title_and_description_and_nothing_that_acts_on_the_page(drawing):
    tags = [one.tag for one in elements(drawing)]
    assert tags[:3] == ["svg", "title", "desc"]
    assert elements(drawing)[1].text == 'A "title" & more'
    assert elements(drawing)[2].text == "A <description>"
    assert not {"style", "script", "metadata", "image"} & set(tags)
    assert "font-family" not in drawing


def test_ids_begin_with_the_key_of_the_chart(drawing):
    ids = [one.attrib["id"] for one in elements(drawing) if "id" in one.attrib]
    assert ids
    assert all(one.startswith("key-") for one in ids)
    used = re.findall(r'(?:href="|url\()#([\w-]+)', drawing)
    assert set(used) <= set(ids)


def test_names_are_text_and_no_formulas():
    with svg.chart_style():
        text = to_svg(interval_drawing(), "key", "t", "d")
    assert "$x^2$ <b>" in [one.text for one in elements(text) if one.tag == "text"]


def test_the_same_figure_gives_the_same_bytes():
    with svg.chart_style():
        first, second = (to_svg(interval_drawing(), "key", "t", "d") for _ in range(2))
    assert first == second


def test_series_are_told_apart_without_color():
    with svg.chart_style():
        text = to_svg(line_chart([("", LINES[:8])], "step", "loss"), "key", "t", "d")
    dashes = set(re.findall(r"stroke-dasharray: ([\d., ]+)", text))
    assert len(dashes) >= 7
    assert len(set(svg.MARKERS)) == len(set(svg.HATCHES)) == len(set(svg.DASHES)) == svg.SERIES


def test_a_text_that_is_too_long_loses_its_middle():
    assert fitted("short", 200) == "short"
    long = "efficientnet_lite0 policy=mlp_attention"
    short = fitted(long, 120)
    assert text_width(short) <= 120
    assert text_width(fitted(long, 120, bold=True), bold=True) <= 120
    head, tail = short.split("\N{HORIZONTAL ELLIPSIS}")
    assert long.startswith(head)
    assert long.endswith(tail)
    assert abs(len(head) - len(tail)) <= 1
    assert fitted(long, 0)  # something is left
