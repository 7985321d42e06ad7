"""The colors of the page: legible on light and dark ground."""

import re
from importlib import resources

import pytest

STYLE = (resources.files("egodtm_robot.comparison.report") / "templates/style.css").read_text()
TEXT, SHAPE = 4.5, 3.0
"""Least contrasts of WCAG 2.2, level AA: of text (1.4.3) and of the shapes of charts (1.4.11)."""


def colors(dark):
    light, dim = re.findall(r":root \{(.*?)\n *\}", STYLE, flags=re.DOTALL)[:2]
    found = dict(re.findall(r"--([\w-]+): (#\w{6})", light))
    return found | (dict(re.findall(r"--([\w-]+): (#\w{6})", dim)) if dark else {})


def channels(color):
    return [int(color[at : at + 2], 16) for at in (1, 3, 5)]


def luminance(rgb):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in
              (value / 255 for value in rgb)]  # fmt: skip
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_charts_stand_out_from_their_ground(dark):
    found = {name: channels(color) for name, color in colors(dark).items()}
    for ground in ("surface", "ground"):
        for name in ("ink", "faint", "link", "warning"):
            assert contrast(found[name], found[ground]) >= TEXT, (name, ground)
    for series in range(8):
        assert contrast(found[f"series-{series}"], found["surface"]) >= SHAPE, series
    # The fullest tile of the table of conditions.
    share = float(re.search(r"--level, 0\) \* ([\d.]+)%\), var\(--surface", STYLE)[1])
    tile = [
        share * a + (1 - share) * b for a, b in zip(found["heat"], found["surface"], strict=True)
    ]
    assert contrast(found["ink"], tile) >= TEXT


def test_dark_pages_have_every_color_that_light_ones_have():
    light, dim = re.findall(r":root \{(.*?)\n *\}", STYLE, flags=re.DOTALL)[:2]
    names = [set(re.findall(r"--([\w-]+):", part)) for part in (light, dim)]
    assert names[0] == names[1]


def test_films_and_scrolling_respect_reduced_motion():
    assert "animation" not in STYLE
    assert "transition" not in STYLE
    (motion,) = re.findall(r"@media \(prefers-reduced-motion: no-preference\) \{(.*)\}", STYLE)
    assert STYLE.count("scroll-behavior: smooth") == motion.count("scroll-behavior: smooth") == 1
