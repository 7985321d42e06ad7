import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.comparison.comparison import compare_arms
from egodtm_robot.comparison.reading import read_arms
from egodtm_robot.comparison.report.run_records import read_records
from egodtm_robot.comparison.report.task_table import task_table

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_runs import TASKS, write_run


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    demos = {"episodes": 25, "kept": 25, "attempted": 26}
    solved = {"none": (0, 0), "oracle": (20, 12), "pixels": (20, 13)}
    for name, counts in solved.items():
        for task, count in zip(TASKS, counts, strict=True):
            place = folder / task / name / "seed_0"
            write_run(place, np.arange(20) < count, 0, task, encoder=name, demos=demos)
    return {arm.name: arm for arm in read_arms([folder])}


def table_of(*arms):
    return task_table(compare_arms(arms), read_records(arms))


def test_each_tile_is_a_cell_with_its_interval_and_seeds(arms):
    found = table_of(arms["pixels"], arms["none"])
    assert found.columns == ("knob", "light")
    (name, (first, second)), (_, (third, _)) = found.rows
    assert name == "pixels"
    assert (first.percent, first.level, first.mark) == ("100", 100.0, "ceiling")
    assert (second.percent, second.mark, second.seeds) == ("65", "", "0:\N{NO-BREAK SPACE}65")
    assert second.interval == "[43,\N{NO-BREAK SPACE}82]"
    assert (third.percent, third.mark) == ("0", "floor")


def test_what_sees_everything_and_what_sees_nothing_bound_the_others(arms):
    sentences = table_of(*arms.values()).sentences
    assert "oracle sees the simulator's state in place of images and is the ceiling: 80 %." in (
        sentences
    )
    assert "none sees no images and is the floor: 0 %." in sentences
    assert not any(sentence.startswith("All arms") for sentence in sentences)


def test_where_all_arms_are_at_an_end_the_table_says_so(arms):
    sentences = table_of(arms["oracle"], arms["pixels"]).sentences
    assert "All arms are at the ceiling under knob, which can hardly tell them apart." in sentences


def test_the_success_of_the_demonstrator_is_named(arms):
    sentence = "The demonstrator, which policies imitate, succeeded in 96 % of its attempts."
    assert sentence in table_of(arms["pixels"]).sentences


def test_a_condition_without_a_run_is_no_zero(arms):
    runs = tuple(run for run in arms["none"].runs if run.condition.environment == TASKS[0])
    partial = type(arms["none"])("partial", runs)
    (_, (_, empty)) = table_of(arms["pixels"], partial).rows[1]
    assert (empty.level, empty.interval, empty.mark) == (-1, "no run", "")
