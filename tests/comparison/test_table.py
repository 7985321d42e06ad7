import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.comparison.table import BenchmarkTable
from egodtm_robot.evaluation.outcomes import read_outcomes, write_outcomes
from egodtm_robot.evaluation.results import FinishedRun, ResultsError, RunResults, success_summary

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_runs import TASKS, write_grid, write_run


def built(folder, rows, reference="poor"):
    runs = {
        (row, task): [FinishedRun.load(one) for one in sorted((folder / task / row).glob("*"))]
        for row in rows
        for task in TASKS
    }
    return BenchmarkTable.from_runs(rows, TASKS, runs, reference)


ROWS = ["poor", "good", "partial", "waiting"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    write_grid(folder, {"poor": 0.3, "good": 0.8}, seeds=range(3))
    write_grid(folder, {"partial": 0.5}, tasks=TASKS[:1])
    return built(folder, ROWS)


def test_a_cell_pools_the_episodes_of_all_run_seeds(table):
    cell = table.cells["good", TASKS[0]]
    assert (cell.episodes, cell.successes) == (60, 48)
    assert ("waiting", TASKS[0]) not in table.cells


def test_rows_are_compared_with_the_reference_on_their_episodes(table):
    found = table.comparison.difference("good", "poor")
    assert found.paired
    assert found.success.value == pytest.approx(0.5)
    assert found.verdict == "ahead"
    assert "difference to `poor`" in table.to_markdown()


def test_a_row_that_lacks_an_environment_has_cells_and_no_mean(table):
    assert table.cells["partial", TASKS[0]].episodes == 40
    assert table.comparison.arm("partial").mean is None
    assert table.comparison.compared == table.comparison.conditions
    assert "no run is finished of `waiting`" in table.to_markdown()


def test_the_json_names_every_row_of_the_grid(table):
    plain = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert plain["rows"] == ROWS
    assert plain["unfinished"] == ["waiting"]
    assert plain["tasks"] == list(TASKS)
    assert {arm["name"] for arm in plain["arms"]} == {"poor", "good", "partial"}


def test_a_grid_without_a_finished_run_has_a_table_too(tmp_path):
    empty = built(tmp_path, ROWS)
    assert empty.comparison is None
    assert empty.cells == {}
    assert "no run is finished" in empty.to_markdown()
    assert empty.to_json()["unfinished"] == ROWS


def test_totals_of_before_outcomes_are_compared_unpaired_and_say_so(tmp_path):
    write_grid(tmp_path, {"poor": 0.3, "good": 0.8}, outcomes=False)
    assert "(unpaired)" in built(tmp_path, ["poor", "good"]).to_markdown()


def test_rows_that_differ_in_their_look_are_compared_on_the_same_episode_seeds(tmp_path):
    write_grid(tmp_path, {"varied": 0.8}, look="varied")
    write_grid(tmp_path, {"shifted": 0.5}, look="shifted")
    found = built(tmp_path, ["varied", "shifted"], "varied").comparison
    assert found.difference("shifted", "varied").paired
    assert found.difference("shifted", "varied").success.value == pytest.approx(-0.3)


def test_policies_that_met_further_looks_are_rows_for_each_look(tmp_path):
    write_grid(tmp_path, {"poor": 0.3, "good": 0.8})
    for results in tmp_path.rglob("results.json"):
        folder = results.parent
        rows = read_outcomes(folder / "outcomes.csv")
        shifted = [replace(row, look="shifted", success=row.success and number % 2 == 0)
                   for number, row in enumerate(rows)]  # fmt: skip
        write_outcomes(folder / "outcomes.csv", [*rows, *shifted])
        run = RunResults.load(folder)
        totals = success_summary(len(rows), sum(row.success for row in shifted))
        run.final["further_looks"] = {"shifted": totals}
        run.save(folder)
    found = built(tmp_path, ["poor", "good"]).comparison
    assert [arm.name for arm in found.arms] == [
        "good (varied)", "good (shifted)", "poor (varied)", "poor (shifted)",
    ]  # fmt: skip
    assert found.reference == "poor (varied)"
    loss = found.difference("good (shifted)", "good (varied)")
    assert loss.paired
    assert loss.success.value == pytest.approx(-0.4)


def test_rows_that_disagree_with_the_results_are_named(tmp_path):
    successes = np.arange(20) < 10
    write_run(tmp_path / "run", successes)
    rows = FinishedRun.load(tmp_path / "run").outcomes
    write_outcomes(tmp_path / "run" / "outcomes.csv", rows[1:])
    with pytest.raises(ResultsError, match="Expected 10 successes of 20 episodes .* got 9 of 19"):
        FinishedRun.load(tmp_path / "run")
