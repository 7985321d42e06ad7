import io
import json

import pytest

from egodtm_robot.comparison.cells import Cell
from egodtm_robot.comparison.grid_config import Row
from egodtm_robot.comparison.grid_progress import FailedCell, GridProgress, expected_seconds


def cell(encoder="pixels", environment="light", seed=0, protocol="few"):
    return Cell(protocol, Row(encoder, encoder), environment, seed)


@pytest.fixture
def clock(monkeypatch):
    time = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: time[0])
    return time


def test_nothing_is_expected_before_a_run_is_finished():
    assert expected_seconds(cell(), {}) is None


def test_work_that_runs_share_is_expected_once():
    finished = {
        cell("none"): {"collect": 60.0, "embed": 1.0, "train": 10.0},
        cell("pixels"): {"collect": 2.0, "embed": 30.0, "train": 20.0},
    }
    # The demonstrations are there, the features are not: as long as a first one took.
    assert expected_seconds(cell("egodtm"), finished) == 2 + (1 + 30) / 2 + 15
    assert expected_seconds(cell("pixels", seed=1), finished) == 2 + 30 + 20
    assert expected_seconds(cell("none", "knob"), finished) == 60 + (1 + 30) / 2 + 10


def test_the_closest_runs_tell_what_others_take():
    finished = {
        cell("none"): {"evaluate": 10.0},
        cell("pixels"): {"evaluate": 50.0},
        cell("pixels", "knob"): {"evaluate": 30.0},
        cell("pixels", protocol="standard"): {"evaluate": 90.0},
    }
    assert expected_seconds(cell("pixels", seed=3), finished) == 50
    assert expected_seconds(cell("pixels", "microwave"), finished) == 40
    assert expected_seconds(cell("egodtm"), finished) == 30
    assert expected_seconds(cell("egodtm", protocol="r3m"), finished) == 45


def test_time_left_is_shared_by_the_workers_and_falls_while_runs_are_under_way(tmp_path, clock):
    cells = [cell(seed=seed) for seed in range(5)]
    progress = GridProgress(list(cells), 2, tmp_path, io.StringIO())
    progress.begin(cells[0])
    assert progress.seconds_left() is None
    clock[0] += 40
    progress.finish(cells[0], {"train": 30.0})
    progress.begin(cells[1])
    progress.begin(cells[2])
    clock[0] += 10
    # 30 s each for the two under way, 40 s for the two that wait, by two workers.
    assert progress.seconds_left() == (30 + 30 + 40 + 40) / 2
    progress.drop(cells[3:])
    assert progress.total == 3
    assert progress.seconds_left() == 30
    clock[0] += 500
    assert progress.seconds_left() == 0


def test_the_line_and_the_file_tell_what_is_under_way_and_what_failed(tmp_path, clock):
    stream = io.StringIO()
    cells = [cell(seed=seed) for seed in range(3)]
    progress = GridProgress(list(cells), 1, tmp_path, stream)
    progress.begin(cells[0])
    clock[0] += 30
    progress.finish(cells[0], {"train": 20.0, "evaluate": 8.0})
    progress.begin(cells[1])
    progress.fail(cells[1], FailedCell("the run of pixels", tmp_path / "log.txt"))
    progress.begin(cells[2])
    first, second = stream.getvalue().splitlines()
    assert " 1/3 runs  0 running  eta 1:00  pixels on light, seed 0, few finished" in first
    assert " 1/3 runs  0 running  1 failed  eta 0:30  pixels on light, seed 1, few failed" in second
    told = json.loads((tmp_path / "progress.json").read_text())
    assert told["running"] == [{"run": "pixels on light, seed 2, few", "seconds": 0.0}]
    assert told["failed"] == [{"run": "the run of pixels", "log": str(tmp_path / "log.txt")}]
    assert told["mean_seconds"] == {"train": 20.0, "evaluate": 8.0, "rest": 2.0}
    assert (told["total"], told["finished"], told["waiting"]) == (3, 1, 0)
    assert told["seconds_left"] == 30


def test_a_run_whose_worker_died_is_under_way_once(tmp_path, clock):
    progress = GridProgress([cell()], 1, tmp_path, io.StringIO())
    progress.begin(cell())
    clock[0] += 5
    progress.begin(cell())
    assert (progress.total, len(progress.running)) == (1, 1)
