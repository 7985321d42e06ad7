import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.comparison.run_folders import (
    episodes_of,
    run_folders,
    unfinished_runs,
)
from egodtm_robot.evaluation.outcomes import read_outcomes, write_outcomes
from egodtm_robot.evaluation.results import FinishedRun

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_runs import condition, write_run

DEMOS = {"episodes": 25, "noise": 0.05, "seed": 0}


def test_the_rows_of_a_run_become_its_episodes(tmp_path):
    write_run(tmp_path / "run", [True, False, True], seed=4, r3m_success_rate=0.9)
    (run,) = episodes_of(FinishedRun.load(tmp_path / "run"))
    assert run.condition == condition("kitchen_knob")
    assert run.run_seed == 4
    assert run.episode_seeds.tolist() == [4000, 4001, 4002]
    assert run.success.tolist() == [True, False, True]
    assert run.progress.tolist() == [1, 0.25, 1]
    assert np.array_equal(run.solved_step, [10, np.nan, 12], equal_nan=True)
    assert run.steps.tolist() == [50, 50, 50]
    assert run.source == tmp_path / "run"
    assert run.scene == "kitchen_knob!"
    assert run.checkpoint_maximum == 0.9


def test_episodes_are_in_order_of_their_seeds_and_apart_by_condition(tmp_path):
    folder = tmp_path / "run"
    write_run(folder, [True, False, True])
    rows = read_outcomes(folder / "outcomes.csv")
    changed = [rows[2], rows[0], replace(rows[1], look="shifted")]
    write_outcomes(folder / "outcomes.csv", changed)
    shifted, varied = episodes_of(FinishedRun.load(folder))
    assert shifted.condition.look == "shifted"
    assert shifted.episode_seeds.tolist() == [1]
    assert varied.episode_seeds.tolist() == [0, 2]


def test_totals_alone_have_no_episode_seeds(tmp_path):
    write_run(tmp_path / "run", [True, False, True], outcomes=False)
    (run,) = episodes_of(FinishedRun.load(tmp_path / "run"))
    assert run.episode_seeds is None
    assert run.success.sum() == 2
    assert (run.progress, run.steps) == (None, None)
    assert run.condition == condition("kitchen_knob")


def provenance(folder, **fields):
    write_run(folder, [True], **fields)
    (run,) = episodes_of(FinishedRun.load(folder))
    return run.provenance


def test_the_provenance_hashes_every_setting_that_the_protocol_stands_for(tmp_path):
    few = {"name": "few", "training": {"steps": 4000}}
    base = provenance(tmp_path / "base", settings=few)
    assert (base.protocol, base.toolkit, base.simulator) == ("few", "0.1.0", "mujoco 4.0.0")
    assert base.settings == provenance(tmp_path / "same", settings=few, seed=3).settings
    others = [
        provenance(tmp_path / "1", settings={"name": "few", "training": {"steps": 5000}}),
        provenance(tmp_path / "2", settings={**few, "final_episodes": 70}),
        provenance(tmp_path / "3", settings=few, demos={**DEMOS, "episodes": 50}),
        provenance(tmp_path / "4", settings=few, demos={**DEMOS, "noise": 0.1}),
    ]
    assert len({base.settings, *(one.settings for one in others)}) == 5


def test_the_hash_that_results_carry_comes_before_that_of_the_settings(tmp_path):
    settings = {"name": "few"}
    found = provenance(tmp_path / "run", settings=settings, protocol_hash="0123456789abcdef")
    assert found.settings == "0123456789abcdef"


@pytest.mark.parametrize("settings", [None, {"gone": 1}, "text"], ids=str)
def test_settings_that_cannot_be_read_leave_the_hash_open(tmp_path, settings):
    found = provenance(tmp_path / "run", settings=settings)
    assert (found.protocol, found.settings) == ("few", "")


def test_runs_are_found_at_any_depth_and_results_of_other_commands_passed_over(tmp_path):
    write_run(tmp_path / "a" / "b" / "run", [True])
    write_run(tmp_path / "run", [True])
    (tmp_path / "pretraining").mkdir()
    (tmp_path / "pretraining" / "results.json").write_text('{"validation": 1}')
    assert run_folders(tmp_path) == [tmp_path / "a" / "b" / "run", tmp_path / "run"]
    assert run_folders(tmp_path / "run") == [tmp_path / "run"]


def test_runs_that_have_begun_are_named(tmp_path):
    write_run(tmp_path / "done", [True])
    for name in ("done", "begun"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "timings.json").write_text("{}")
    assert unfinished_runs(tmp_path) == [tmp_path / "begun"]
    assert unfinished_runs(tmp_path / "outcomes.csv") == []
