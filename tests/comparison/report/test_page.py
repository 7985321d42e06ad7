import base64
import hashlib
import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.comparison.arms import Arm
from egodtm_robot.comparison.comparison import compare_arms
from egodtm_robot.comparison.reading import read_arms
from egodtm_robot.comparison.report.page import PageOptions, report_page, write_report

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_films import add_films
from fake_runs import TASKS, random_arm, write_run
from page_reader import Page

HOSTILE = (
    "<script>alert(1)</script>",
    "</title></svg><b>$x_1$ &amp; \\frac",
    "' onload=alert(2) \"",
)


def page_of(arms, reference=None, **options):
    comparison = compare_arms(arms, reference, allow_unpaired=True)
    return Page(report_page(arms, comparison, PageOptions(**options))), comparison


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A benchmark's folder with two rows on two tasks; the first episodes of one are filmed."""
    folder = tmp_path_factory.mktemp("runs")
    solved = {"egodtm": [1, 0, 1, 1, 1, 0, 1, 1], "pixels": [0, 0, 1, 0, 1, 0, 0, 1]}
    for name, successes in solved.items():
        for task in TASKS:
            for seed in range(3):
                place = folder / task / name / f"seed_{seed}"
                turned = np.roll(np.array(successes, bool), seed if task == TASKS[1] else 0)
                demos = {"episodes": 25, "fingerprint": "d", "kept": 25, "attempted": 26}
                write_run(place, turned, seed, task, encoder=name, demos=demos)
                if task == TASKS[0] and seed == 0:
                    add_films(place, 1)
    return folder


@pytest.fixture(scope="module")
def built(runs):
    return page_of(read_arms([runs]), "pixels", films=1)


@pytest.fixture(scope="module")
def hostile():
    """A page with names that would break it, without any folder of runs."""
    rates = (0.9, 0.6, 0.3)
    arms = [random_arm(name, rate) for name, rate in zip(HOSTILE, rates, strict=True)]
    return page_of(arms)[0]


@pytest.fixture(scope="module", params=["runs", "hostile"])
def any_page(request):
    return request.getfixturevalue("built")[0] if request.param == "runs" else (
        request.getfixturevalue("hostile")
    )  # fmt: skip


def test_the_page_says_what_the_comparison_says(built):
    page, comparison = built
    (ranking,) = page.all("section", id="ranking")
    for arm in comparison.arms:
        assert f"{100 * arm.mean.value:.1f}" in ranking.text
        assert arm.letters in ranking.text
    (finding,) = page.all("ul", class_="findings")[0].all("li")
    (pair,) = comparison.pairs
    assert pair.verdict == finding.attributes["class"]
    assert f"+{100 * pair.success.value:.1f}" in finding.text
    assert comparison.advice in page.all("section", id="chance")[0].text
    tiles = [tile.text.split(" ")[0] for tile in page.all("span", class_="tile")]
    assert tiles == [
        f"{100 * arm.cells[one].rate:.0f}" for arm in comparison.arms for one in comparison.compared
    ]


def test_every_note_of_the_comparison_stands_in_the_page():
    arms = [random_arm("a", 0.5, range(1)), random_arm("b", 0.6, range(2))]
    page, comparison = page_of(arms)
    assert len(comparison.notes) == 2
    notes = [note.text for note in page.all("ul", class_="notes")[0].all("li")]
    assert notes == list(comparison.notes)
    # One run seed: what training adds is not invented.
    assert "cannot be told" in page.all("section", id="chance")[0].text
    assert not page.all("figure", id="variance-chart")


def test_a_difference_by_condition_names_what_only_one_arm_solved(built):
    page, _ = built
    (chart,) = page.all("figure", id="pair-0")
    rows = [[cell.text for cell in row.all()] for row in chart.all("tbody")[0].all("tr")]
    assert [row[0] for row in rows] == ["knob", "light", "mean"]
    # On the first task, three of eight episodes differ in each of three runs, all one way.
    assert rows[0][3:5] == ["9", "0"]
    assert rows[0][1] == "+37.5"
    assert rows[0][5] == "0: +37.5, 1: +37.5, 2: +37.5"


def test_nothing_comes_from_elsewhere(any_page):
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[\w+/=]+", "", any_page.source))
    assert not any_page.all("link") + any_page.all("iframe") + any_page.all("object")
    (policy,) = any_page.all("meta", http_equiv="Content-Security-Policy")
    assert policy.attributes["content"].startswith("default-src 'none'; img-src data:")


def test_only_the_pages_own_script_may_run(any_page):
    (script,) = any_page.all("script")
    digest = hashlib.sha256("".join(script.parts).encode()).digest()
    (policy,) = any_page.all("meta", http_equiv="Content-Security-Policy")
    assert (
        f"script-src 'sha256-{base64.b64encode(digest).decode()}'" in (policy.attributes["content"])
    )
    for element in any_page.all():
        assert not [name for name in element.attributes if name.startswith("on")]


def test_hostile_names_stay_text(hostile):
    assert len(hostile.all("b")) == len(hostile.all("span", class_="tile"))
    names = [row.all("th")[0].text for row in hostile.all("table", class_="heat")[0].all("tr")[1:]]
    assert names == list(HOSTILE)
    labels = [text.text for text in hostile.all("figure", id="ranking-chart")[0].all("text")]
    assert HOSTILE[0] in labels
    assert any(label.startswith("</title></svg") for label in labels)
    titles = [chart.all("h3")[0].text for chart in hostile.all("figure", class_="chart")]
    assert f"{HOSTILE[0]} \N{MINUS SIGN} {HOSTILE[1]}" in titles


def test_every_drawing_has_a_name_a_description_and_its_numbers_in_a_table(any_page):
    ids = [one.attributes["id"] for one in any_page.all() if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    figures = any_page.all("figure", class_="chart")
    assert len(figures) >= 4
    assert len(any_page.all("svg")) == len(figures)
    for figure in figures:
        (drawing,) = figure.all("svg")
        assert drawing.attributes["role"] == "img"
        for name in drawing.attributes["aria-labelledby"].split():
            (element,) = [one for one in drawing.all() if one.attributes.get("id") == name]
            assert element.text
        (details,) = figure.all("details")
        assert len(details.all("tbody")[0].all("tr")) >= 1
        for used in drawing.all("use"):
            assert used.attributes["xlink:href"].removeprefix("#") in ids
        for shape in drawing.all():
            for name in re.findall(r"url\(#([^)]+)\)", " ".join(shape.attributes.values())):
                assert name in ids


def test_the_page_can_be_read_aloud_and_walked_through_by_keyboard(any_page):
    assert any_page.all("html")[0].attributes["lang"] == "en"
    assert any_page.all("meta", name="viewport")
    ids = {one.attributes.get("id") for one in any_page.all()}
    for link in any_page.all("a"):
        assert link.attributes["href"].removeprefix("#") in ids
        assert link.text
    levels = [int(one.tag[1]) for one in any_page.all() if re.fullmatch(r"h[1-6]", one.tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for table in any_page.all("table"):
        assert table.all("caption")[0].text
        assert all(cell.attributes["scope"] in ("col", "row") for cell in table.all("th"))
        width = len(table.all("thead")[0].all("th"))
        assert all(len(row.children) == width for row in table.all("tbody")[0].all("tr"))
    for region in any_page.all("div", class_="scroll"):
        assert region.attributes["tabindex"] == "0"
        assert region.attributes["aria-label"]
    for section in any_page.all("section"):
        (title,) = section.all("h2")
        assert section.attributes["aria-labelledby"] == title.attributes["id"]


def test_films_stand_side_by_side_and_do_not_start_by_themselves(built):
    page, _ = built
    (entry,) = page.all("ul", class_="films")[0].children
    # The first filmed episode on which the arms disagree.
    assert entry.all("h3")[0].text == "knob, run seed 0, episode 0"
    assert entry.all("p")[0].text == "pixels failed, egodtm solved it."
    for video in entry.all("video"):
        assert {"controls", "muted", "poster", "aria-label"} <= video.attributes.keys()
        assert "autoplay" not in video.attributes
        assert video.attributes["preload"] == "none"
        assert video.attributes["src"].startswith("data:video/mp4;base64,")
    first, second = entry.all("video")
    assert first.attributes["aria-label"] == "Film of egodtm: solved after 10 steps"
    assert second.attributes["aria-label"] == "Film of pixels: failed in 4 steps, progress 25 %"


def test_the_same_results_give_the_same_page(hostile):
    rates = (0.9, 0.6, 0.3)
    arms = [random_arm(name, rate) for name, rate in zip(HOSTILE, rates, strict=True)]
    assert page_of(arms)[0].source == hostile.source


def test_arms_without_seeds_of_episodes_have_no_difference_by_condition():
    unpaired = random_arm("b", 0.6)
    runs = [
        type(run)(run.condition, run.run_seed, None, run.success, source=run.source)
        for run in unpaired.runs
    ]
    page, _ = page_of([random_arm("a", 0.5), Arm("b", tuple(runs))])
    (section,) = page.all("section", id="differences")
    assert "These share no episodes and have no difference by condition: b and a" in section.text
    assert not section.all("figure", id="pair-0")
    assert "as uncertain as two separate experiments" in page.text


def test_one_arm_alone_is_shown_without_differences():
    page, _ = page_of([random_arm("alone", 0.5)])
    assert "There is no pair of arms to compare." in page.text
    assert page.all("figure", id="ranking-chart")
    assert not page.all("figure", id="differences-chart")


def test_a_page_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    arms = [random_arm("a", 0.5)]
    comparison = compare_arms(arms)
    file = tmp_path / "deep" / "report.html"
    size = write_report(file, arms, comparison)
    assert file.stat().st_size == size
    before = file.read_bytes()
    monkeypatch.setattr("egodtm_robot.comparison.report.page.task_table", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(file, arms, comparison)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["report.html"]
