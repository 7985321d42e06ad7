import sys
from pathlib import Path

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from egodtm_robot.comparison.comparison import compare_arms
from egodtm_robot.comparison.reading import read_arms
from egodtm_robot.comparison.report.learning_curves import learning_curves, read_curve
from egodtm_robot.comparison.report.run_records import read_records
from egodtm_robot.comparison.report.svg import chart_style

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_runs import TASKS, write_grid

TAG = "validation/loss"


def write_curve(run_dir, values):
    writer = SummaryWriter(str(run_dir / "events"))
    for step, value in values.items():
        writer.add_scalar(TAG, value, step)
    writer.close()


def curves_of(folder):
    arms = read_arms([folder])
    records = read_records(arms)
    folders = [record.folder for found in records.values() for record in found]
    losses = {one: curve for one in folders if (curve := read_curve(one, TAG)) is not None}
    with chart_style():
        return learning_curves(compare_arms(arms), records, losses)


def test_a_curve_is_read_from_the_events_of_a_run(tmp_path):
    write_curve(tmp_path, {500: 0.5, 1000: 0.25})
    curve = read_curve(tmp_path, TAG)
    assert curve.steps.tolist() == [500, 1000]
    assert curve.values.tolist() == [0.5, 0.25]
    assert (np.diff(curve.times) >= 0).all()


def test_a_run_that_was_taken_up_again_has_one_value_a_step(tmp_path):
    write_curve(tmp_path, {500: 0.5, 1000: 0.9})
    writer = SummaryWriter(str(tmp_path / "events"), purge_step=501, filename_suffix=".later")
    writer.add_scalar(TAG, 0.3, 1000)
    writer.close()
    assert read_curve(tmp_path, TAG).values.tolist() == pytest.approx([0.5, 0.3])


@pytest.mark.parametrize("content", [None, b"", b"no events"])
def test_what_is_no_curve_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / "events").mkdir()
        (tmp_path / "events" / "events.out.tfevents.0.x").write_bytes(content)
    assert read_curve(tmp_path, TAG) is None


def test_lines_are_means_over_run_seeds_at_the_steps_that_all_have(tmp_path):
    write_grid(tmp_path, {"a": 0.5, "b": 0.3}, checkpoints=[])
    for seed, values in enumerate(({1: 1.0, 2: 0.5}, {1: 0.5, 2: 0.25, 3: 0.1})):
        write_curve(tmp_path / TASKS[0] / "a" / f"seed_{seed}", values)
    found = curves_of(tmp_path)
    (chart,) = found.charts
    assert chart.table.head == ("environment", "arm", "step 1", "step 2")
    assert chart.table.rows == (("knob", "a", "0.7500", "0.3750"),)
    assert found.without == ("b",)


def test_success_of_checkpoints_is_shown_where_they_were_chosen(tmp_path):
    checkpoints = [
        {"step": 10, "episodes": 20, "successes": 5},
        {"step": 20, "episodes": 20, "successes": 15},
    ]
    write_grid(tmp_path, {"a": 0.5}, checkpoints=checkpoints)
    found = curves_of(tmp_path)
    (chart,) = found.charts
    assert chart.key == "selection-chart"
    assert chart.table.rows[0] == ("knob", "a", "25.0", "75.0")
