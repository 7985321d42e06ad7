import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.comparison.comparison import compare_arms
from egodtm_robot.comparison.reading import read_arms
from egodtm_robot.comparison.report import gallery as module
from egodtm_robot.comparison.report.film_clips import FilmClip, FilmError
from egodtm_robot.comparison.report.gallery import gallery
from egodtm_robot.comparison.report.run_records import read_records

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_films import mark_filmed
from fake_runs import TASKS, write_run

SOLVED = {"egodtm": [1, 0, 1, 1, 0, 0, 1, 1], "pixels": [0, 0, 1, 0, 1, 0, 0, 1]}


@pytest.fixture
def arms(tmp_path):
    """Two arms on two tasks, of whose episodes the first six are filmed under the first task."""
    for name, solved in SOLVED.items():
        for task in TASKS:
            place = tmp_path / task / name / "seed_0"
            write_run(place, np.array(solved, bool), 0, task, encoder=name)
            if task == TASKS[0]:
                mark_filmed(place, 6)
    return read_arms([tmp_path])


@pytest.fixture(autouse=True)
def cut(monkeypatch):
    """Films that are cut, each of 1 MB."""
    films = []

    def cut_film(record, film):
        films.append((record.results.encoder["name"], film))
        return FilmClip("m" * 900_000, "p" * 100_000, 32, 32)

    monkeypatch.setattr(module, "cut_film", cut_film)
    return films


def gallery_of(arms, films=6, films_mb=100.0):
    records = {one.folder: one for found in read_records(arms).values() for one in found}
    return gallery(arms, compare_arms(arms), records, films, films_mb)


def test_failures_of_one_arm_come_first_and_in_turn(arms, cut):
    found = gallery_of(arms)
    episodes = [pair.title.rpartition(" ")[2] for pair in found.films]
    # egodtm fails 4, pixels fails 0 and 3, both fail 1 and 5; nobody looks at what both solved.
    assert episodes == ["4", "0", "3", "1", "5"]
    assert [pair.text for pair in found.films][:3] == [
        "egodtm failed, pixels solved it.",
        "pixels failed, egodtm solved it.",
        "pixels failed, egodtm solved it.",
    ]
    assert found.films[-1].text == "Both failed."
    assert cut[:2] == [("egodtm", 4), ("pixels", 4)]
    assert found.films[1].sides[0].text == "solved after 10 steps"
    assert found.films[1].sides[1].text == "failed in 50 steps, progress 25 %"


def test_agreement_is_counted(arms):
    rows = gallery_of(arms).agreement.rows
    # Both solve 2 and 7; only egodtm 0, 3 and 6; only pixels 4; neither 1 and 5.
    assert rows == tuple(
        ("egodtm, pixels", name, "2", "3", "1", "2", "50 %") for name in ("knob", "light")
    )


def test_disagreements_without_films_are_named(arms):
    found = gallery_of(arms)
    # Of the first task episode 6, of the second all four.
    assert found.unfilmed == 5
    assert found.missing.rows[0] == (
        "knob", "0", "6", "pixels failed, egodtm solved it.", "egodtm, pixels",
    )  # fmt: skip
    assert {row[0] for row in found.missing.rows[1:]} == {"light"}


def test_films_keep_within_their_number_and_their_room(arms):
    assert len(gallery_of(arms, films=2).films) == 2
    assert gallery_of(arms, films=2).left_out == 0
    assert gallery_of(arms, films=0).films == ()
    # A pair takes 2 MB.
    found = gallery_of(arms, films_mb=4.5)
    assert (len(found.films), found.left_out) == (2, 3)
    assert gallery_of(arms, films=4, films_mb=4.5).left_out == 2


def test_films_that_cannot_be_read_are_named_once_and_others_shown(arms, cut, monkeypatch):
    def broken(record, film):
        if film in (0, 4):
            raise FilmError("no film")
        return FilmClip("m", "p", 32, 32)

    monkeypatch.setattr(module, "cut_film", broken)
    found = gallery_of(arms)
    assert found.problems == ("no film",)
    assert [pair.title.rpartition(" ")[2] for pair in found.films] == ["3", "1", "5"]


def test_arms_without_folders_have_no_films(arms):
    stripped = [
        type(arm)(arm.name, tuple(type(run)(run.condition, run.run_seed, run.episode_seeds,
                                            run.success) for run in arm.runs))
        for arm in arms
    ]  # fmt: skip
    found = gallery_of(stripped)
    assert found.films == ()
    assert found.unfilmed == 8
