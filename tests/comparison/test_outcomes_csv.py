import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.comparison.arms import Arm, make_arm
from egodtm_robot.comparison.comparison import compare_arms
from egodtm_robot.comparison.outcomes_csv import read_outcomes_csv, write_outcomes_csv
from egodtm_robot.comparison.reading import read_arms
from egodtm_robot.evaluation.outcomes import OutcomesError

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_runs import run_episodes, write_grid


def read(tmp_path, text, name="mine.csv"):
    path = tmp_path / name
    path.write_text(text)
    return read_outcomes_csv(path)


@pytest.fixture
def grid(tmp_path):
    write_grid(tmp_path / "grid", {"egodtm": 0.6, "pixels": 0.35}, settings={"name": "few"})
    write_grid(tmp_path / "grid", {"old": 0.3}, outcomes=False, r3m_success_rate=0.4)
    return read_arms([tmp_path / "grid"])


@pytest.mark.parametrize("name", ["all.csv", "folder/all.csv.gz"])
def test_a_file_gives_the_same_comparison_as_the_folders(tmp_path, grid, name):
    write_outcomes_csv(tmp_path / name, grid)
    again = read_arms([tmp_path / name])
    assert [arm.name for arm in again] == ["egodtm", "old", "pixels"]
    folders, file = (compare_arms(arms, "pixels").to_json() for arms in (grid, again))
    assert file == folders


def test_the_same_outcomes_give_the_same_bytes(tmp_path, grid):
    first, second = tmp_path / "first.csv.gz", tmp_path / "second.csv.gz"
    write_outcomes_csv(first, grid)
    shuffled = [Arm(arm.name, arm.runs[::-1]) for arm in grid]
    write_outcomes_csv(second, shuffled)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == bytes(4), "the time of writing is in the file"
    third = tmp_path / "third.csv.gz"
    write_outcomes_csv(third, read_outcomes_csv(first))
    assert third.read_bytes() == first.read_bytes()


def test_a_file_of_another_kind_is_not_written(tmp_path, grid):
    with pytest.raises(OutcomesError, match=r"\.csv or \.csv\.gz, got .*all\.parquet"):
        write_outcomes_csv(tmp_path / "all.parquet", grid)


def test_two_columns_are_enough(tmp_path):
    (arm,) = read(tmp_path, "episode,success\n2,1\n0,0\n1,True\n")
    assert arm.name == "mine"
    (run,) = arm.runs
    assert run.run_seed == 0
    assert run.episode_seeds.tolist() == [0, 1, 2]
    assert run.success.tolist() == [False, True, True]
    assert run.progress is run.steps is run.solved_step is run.provenance is None


@pytest.mark.parametrize("column", ["arm", "encoder", "method"])
def test_a_column_splits_a_file_into_arms(tmp_path, column):
    text = f"{column},seed,episode_seed,task,success\nb,1,7,knob,1.0\na,1,7,knob,0.0\n"
    arms = read(tmp_path, text)
    assert [arm.name for arm in arms] == ["b", "a"]
    assert arms[0].runs[0].condition.environment == "knob"
    assert (arms[0].runs[0].run_seed, arms[1].runs[0].success.tolist()) == (1, [False])


def test_what_pandas_writes_is_read(tmp_path):
    text = (
        "\ufeffepisode,success,solved_step,progress,steps,other\n"
        "1.0,True,12.0,1.0,13,x\n2.0,False,nan,0.5,50,y\n"
    )
    ((run,),) = (arm.runs for arm in read(tmp_path, text))
    assert run.episode_seeds.tolist() == [1, 2]
    assert np.array_equal(run.solved_step, [12, np.nan], equal_nan=True)
    assert run.steps.tolist() == [13, 50]


def test_names_of_episodes_are_the_same_in_every_file(tmp_path):
    header = "episode,success\n"
    (first,) = read(tmp_path, header + "red,1\nblue,0\n", "first.csv")
    (second,) = read(tmp_path, header + "blue,0\nred,0\n", "second.csv")
    seeds = [arm.runs[0].episode_seeds for arm in (first, second)]
    assert np.array_equal(*seeds)
    assert len(set(seeds[0])) == 2
    rates = [arm.runs[0].success.tolist() for arm in (first, second)]
    assert sorted(rates[0]) == [False, True]


def test_a_run_whose_episodes_have_no_seeds_is_unpaired(tmp_path):
    (arm,) = read(tmp_path, "run_seed,episode_seed,success\n0,,1\n0,,1\n0,,0\n")
    assert arm.runs[0].episode_seeds is None
    assert arm.runs[0].success.sum() == 2


HEAD = "run_seed,episode,success,progress,solved_step,steps\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("episode,won\n1,1\n", r"a column success in .*got episode, won"),
        ("success\n1\n", r"a column episode_seed or episode in .*got success"),
        ("", r"a column success and a column episode_seed or episode in .*got none"),
        ("episode,success\n", r"a row for each episode"),
        ("episode,success\n1,2\n", r"success 1 or 0, True or False, got '2' in line 2 of"),
        ("episode,success\n1,0.5\n", r"got '0\.5'"),
        ("episode,success\n1,1\n2,\n", r"got '' in line 3"),
        ("episode,success\n1\n", r"2 values, got more or fewer in line 2"),
        ("episode,success\n1,1,1\n", r"2 values, got more or fewer in line 2"),
        ("episode,success\n1,1\n1,0\n", r"each episode of mine, run seed 0, once, got '1' again"),
        ("episode,success\n1,1\n,0\n", r"an episode in episode .*got none in line 3"),
        ("arm,episode,success\n,1,1\n", r"a name in arm, got none"),
        ("seed,episode,success\na,1,1\n", r"a whole number of at least 0 in seed, got 'a'"),
        ("seed,episode,success\n-1,1,1\n", r"a whole number of at least 0 in seed, got '-1'"),
        ("version,episode,success\n9,1,1\n", r"version 1, got '9'"),
        (HEAD + "0,1,1,1.5,3,9\n", r"progress from 0 to 1, got '1\.5'"),
        (HEAD + "0,1,1,1,3,9\n0,2,1,,3,9\n", r"progress from 0 to 1, got ''"),
        (HEAD + "0,1,1,1,x,9\n", r"solved_step at least 0 or empty, got 'x'"),
        (HEAD + "0,1,1,1,3,-9\n", r"steps at least 0, got '-9'"),
        ("protocol,episode,success\na,1,1\nb,2,1\n", r"one protocol and toolkit a run"),
        ("scene,episode,success\na,1,1\nb,2,1\n", r"one scene a run and condition"),
    ],
)
def test_what_does_not_fit_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(OutcomesError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "content",
    # Not the time of now: names of tests have to be the same in every process that runs them.
    [b"no gzip", gzip.compress(b"episode,success\n1,1\n", mtime=0)[:-9]],
    ids=["other", "cut"],
)
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "all.csv.gz"
    path.write_bytes(content)
    with pytest.raises(OutcomesError, match=r"rows of outcomes in .*all\.csv\.gz, cannot read it"):
        read_outcomes_csv(path)


def test_what_is_not_known_stays_unknown(tmp_path):
    path = tmp_path / "all.csv"
    write_outcomes_csv(path, [make_arm("a", [run_episodes([True, False])])])
    ((run,),) = (arm.runs for arm in read_outcomes_csv(path))
    assert run.progress is run.steps is run.solved_step is run.checkpoint_maximum is None
