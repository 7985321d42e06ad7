import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.core.storage import atomic_files
from egodtm_robot.evaluation.outcomes import (
    Outcome,
    OutcomesError,
    outcomes_of,
    read_outcomes,
    write_outcomes,
)
from egodtm_robot.evaluation.rollouts import EpisodeResult

EPISODES = (
    EpisodeResult(7, success=True, steps=40, solved_step=33, solved_steps=6, progress=1.0),
    EpisodeResult(8, success=False, steps=75, solved_step=None, solved_steps=0, progress=0.25),
    EpisodeResult(9, success=False, steps=75, solved_step=None, solved_steps=0, progress=None),
)


def rows() -> tuple[Outcome, ...]:
    return outcomes_of(
        EPISODES,
        environment="franka_kitchen_light",
        task="light",
        look="fixed",
        resets="default",
        run_seed=3,
        filmed=[8],
    )


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "outcomes.csv", rows())
    assert read_outcomes(tmp_path / "outcomes.csv") == rows()
    assert [row.film for row in rows()] == [None, 0, None]


def test_the_file_is_a_plain_table(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "outcomes.csv", rows())
    head, first, *_ = (tmp_path / "outcomes.csv").read_text().splitlines()
    assert head.split(",") == ["version", *(field.name for field in dataclasses.fields(Outcome))]
    assert first == "1,franka_kitchen_light,light,fixed,default,3,7,True,33,6,1.0,40,"
    table = np.genfromtxt(tmp_path / "outcomes.csv", delimiter=",", names=True, dtype=None)
    assert table["episode_seed"].tolist() == [7, 8, 9]


def test_a_write_that_is_cut_off_leaves_no_file(tmp_path: Path, monkeypatch) -> None:
    def cut(*_):
        raise OSError("no space left")

    monkeypatch.setattr(atomic_files.os, "fsync", cut)
    with pytest.raises(OSError, match="no space"):
        write_outcomes(tmp_path / "outcomes.csv", rows())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("\n1,", "\n2,"), "version 2"),
        (lambda text: text.replace("True", "yes"), "success 'yes'"),
        (lambda text: text.replace("episode_seed", "seed"), "KeyError 'episode_seed'"),
        (lambda text: text[: text.rindex(",0,") + 1], "does not fit"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "outcomes.csv"
    write_outcomes(path, rows())
    path.write_text(change(path.read_text()))
    with pytest.raises(OutcomesError, match=message):
        read_outcomes(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutcomesError, match="cannot read it"):
        read_outcomes(tmp_path / "outcomes.csv")
