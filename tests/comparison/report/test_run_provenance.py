import sys
from pathlib import Path

import numpy as np

from egodtm_robot.comparison.comparison import compare_arms
from egodtm_robot.comparison.outcomes_csv import write_outcomes_csv
from egodtm_robot.comparison.reading import read_arms
from egodtm_robot.comparison.report.learning_curves import Curve
from egodtm_robot.comparison.report.run_provenance import run_provenance
from egodtm_robot.comparison.report.run_records import read_records

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_runs import TASKS, write_grid


def provenance_of(*paths, losses=None):
    arms = read_arms(paths)
    return run_provenance(arms, compare_arms(arms), read_records(arms), losses or {})


def test_seeds_episodes_protocol_and_hash_are_named(tmp_path):
    write_grid(tmp_path, {"a": 0.5, "b": 0.3}, timings_s={"train": 1800.0})
    facts = dict(provenance_of(tmp_path).facts.rows)
    assert facts["run seeds"] == "0, 1"
    assert facts["episodes"] == "160 episodes of 8 runs"
    assert facts["protocol"] == "few, toolkit 0.1.0, mujoco 4.0.0"
    assert facts["time of all runs"] == "4.0 hours"
    arms = read_arms([tmp_path])
    assert facts["comparison"] == compare_arms(arms).fingerprint


def test_what_differs_between_runs_is_listed(tmp_path):
    write_grid(tmp_path / "x", {"a": 0.5}, versions={"egodtm-robot": "0.1.0", "torch": "2.8"})
    write_grid(tmp_path / "y", {"b": 0.5}, versions={"egodtm-robot": "0.1.0", "torch": "2.9"})
    versions = dict(provenance_of(tmp_path / "x", tmp_path / "y").versions.rows)
    assert versions == {"egodtm-robot": "0.1.0", "torch": "2.8; 2.9"}


def test_the_days_of_training_come_from_the_curves(tmp_path):
    write_grid(tmp_path, {"a": 0.5})
    place = tmp_path / TASKS[0] / "a" / "seed_0"
    curve = Curve(np.array([1.0]), np.array([1.0]), np.array([86_400.0 * 3]))
    facts = dict(provenance_of(tmp_path, losses={place: curve}).facts.rows)
    assert facts["trained"] == "1970-01-04 (UTC)"


def test_arms_of_files_of_rows_say_so(tmp_path):
    write_grid(tmp_path / "runs", {"a": 0.5})
    arms = read_arms([tmp_path / "runs"])
    write_outcomes_csv(tmp_path / "mine.csv", [type(arms[0])("mine", arms[0].runs)])
    found = provenance_of(tmp_path / "runs", tmp_path / "mine.csv")
    assert found.without_folder == ("mine",)
    texts = {arm.name: arm.text for arm in found.arms}
    assert texts["mine"] == "4 runs. Rows of mine.csv."
    assert texts["a"].startswith("4 runs, run seeds 0, 1. Encoder a (")
