"""The page as a browser shows it; skipped where there is none."""

import sys
from pathlib import Path

import pytest

from egodtm_robot.comparison.comparison import compare_arms
from egodtm_robot.comparison.reading import read_arms
from egodtm_robot.comparison.report.page import PageOptions, write_report

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_films import add_films
from fake_runs import TASKS, write_grid
from headless_browser import HeadlessBrowser, find_browser

OVERFLOW = """
[...document.querySelectorAll("body *")].filter(one => {
  const box = one.getBoundingClientRect();
  return box.width && box.right > innerWidth + 0.5 && !one.closest("svg, .skip, .hidden, thead") &&
    !one.closest(".scroll");
}).map(one => one.tagName + "." + one.className)
"""
LEGIBLE = """
[...document.querySelectorAll(".chart svg text")].map(
  one => parseFloat(getComputedStyle(one).fontSize) * one.ownerSVGElement.getScreenCTM().a)
"""
FOCUSED = "document.activeElement.outerHTML.slice(0, 60)"


@pytest.fixture(scope="module")
def browser():
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium or Chrome on this machine; EGODTM_BROWSER names one")
    running = HeadlessBrowser(path)
    yield running
    running.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    names = {"egodtm policy=mlp_attention,env.cameras=[left,right]": 0.9, "pixels": 0.2}
    write_grid(folder / "runs", names, episodes=6)
    for name in names:
        add_films(folder / "runs" / TASKS[0] / name / "seed_0", 3)
    arms = read_arms([folder / "runs"])
    write_report(folder / "report.html", arms, compare_arms(arms, "pixels"), PageOptions(films=2))
    return folder / "report.html"


def test_a_phone_shows_the_page_without_scrolling_sideways(browser, page):
    browser.open(page, width=360)
    assert browser.evaluate("document.documentElement.scrollWidth") == 360
    assert browser.evaluate(OVERFLOW) == []
    assert min(browser.evaluate(LEGIBLE)) > 9
    # Every table is open to a phone, too.
    browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert browser.evaluate("document.documentElement.scrollWidth") == 360
    assert browser.problems() == []


def test_the_page_follows_the_readers_light_or_dark_and_reports_no_problem(browser, page):
    grounds = []
    for scheme in ("light", "dark"):
        browser.open(page, prefers_color_scheme=scheme)
        grounds.append(
            browser.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        )
        assert browser.problems() == []
    assert grounds == ["rgb(243, 245, 248)", "rgb(16, 21, 26)"]


def test_the_keyboard_reaches_the_parts_the_numbers_and_the_films(browser, page):
    browser.open(page)
    seen = []
    for _ in range(80):
        browser.press("Tab", 9)
        seen.append(browser.evaluate(FOCUSED))
        if "both" in seen[-1]:
            break
    assert 'href="#main"' in seen[0]
    assert 'href="#ranking"' in seen[1]
    assert any(one.startswith("<summary>") for one in seen)
    assert any(one.startswith("<video") for one in seen)
    assert "Play both" in browser.evaluate("document.activeElement.textContent")


def test_both_films_of_a_pair_are_played_at_once_and_none_by_itself(browser, page):
    browser.open(page)
    playing = "[...document.querySelectorAll('video')].map(one => !one.paused)"
    assert not any(browser.evaluate(playing))
    browser.evaluate("document.querySelector('.both').click()")
    assert browser.evaluate(playing)[:2] == [True, True]
    assert not any(browser.evaluate(playing)[2:])
