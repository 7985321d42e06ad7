import sys
from pathlib import Path

import numpy as np

from egodtm_robot.comparison.arms import Arm
from egodtm_robot.comparison.comparison import compare_arms
from egodtm_robot.comparison.report.solving import solving
from egodtm_robot.comparison.report.svg import chart_style

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_runs import TASKS, run_episodes

NEVER = np.nan


def arm(name, solved_steps, progress=None):
    """An arm with the same episodes under two run seeds of two tasks; 20 steps are the longest."""
    solved = np.array(solved_steps)
    runs = [
        run_episodes(
            ~np.isnan(solved), seed, task,
            solved_step=solved, steps=np.where(np.isnan(solved), 20, solved + 1).astype(int),
            progress=None if progress is None else np.array(progress),
        )
        for task in TASKS
        for seed in range(2)
    ]  # fmt: skip
    return Arm(name, tuple(runs))


def charts_of(*arms):
    with chart_style():
        return {chart.key: chart for chart in solving(arms, compare_arms(arms)).charts}


def test_episodes_count_from_the_step_at_which_they_were_solved_first():
    quick, slow = arm("quick", [5.0, 5.0, NEVER, 10.0]), arm("slow", [15.0, NEVER, NEVER, NEVER])
    table = charts_of(quick, slow)["solved-chart"].table
    assert table.head == ("steps", "quick", "slow")
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["2"] == ("0.0", "0.0")
    assert rows["5"] == ("50.0", "0.0")
    assert rows["8"] == ("50.0", "0.0")
    assert rows["10"] == ("75.0", "0.0")
    assert rows["20"] == ("75.0", "25.0")


def test_differences_in_progress_and_time_are_those_of_the_comparison():
    first = arm("first", [5.0, 5.0, NEVER, 10.0], [1.0, 1.0, 0.4, 1.0])
    second = arm("second", [15.0, NEVER, NEVER, NEVER], [1.0, 0.2, 0.2, 0.2])
    charts = charts_of(first, second)
    # Progress 85 against 40 percent; 5, 5, 20 and 10 steps against 15, 20, 20 and 20.
    assert charts["progress-chart"].table.rows[0][1] == "+45.0"
    assert charts["time-chart"].table.rows[0][1] == "\N{MINUS SIGN}8.8"


def test_results_without_steps_and_progress_have_no_charts():
    arms = [Arm(name, (run_episodes([1, 0, 1]), run_episodes([1, 1, 0], 1))) for name in "ab"]
    assert charts_of(*arms) == {}
