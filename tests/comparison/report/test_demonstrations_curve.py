import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.comparison.comparison import compare_arms
from egodtm_robot.comparison.reading import read_arms
from egodtm_robot.comparison.report.demonstrations_curve import demonstrations_curve
from egodtm_robot.comparison.report.run_records import read_records
from egodtm_robot.comparison.report.svg import chart_style

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_runs import write_run


def curve_of(folder):
    arms = read_arms([folder])
    with chart_style():
        return demonstrations_curve(compare_arms(arms, allow_mixed=True), read_records(arms))


@pytest.fixture
def write(tmp_path):
    def add(name, episodes, encoder="egodtm"):
        for seed in range(2):
            solved = np.arange(20) < episodes / 4
            place = tmp_path / "knob" / name / f"seed_{seed}"
            write_run(place, solved, seed, encoder=encoder, demos={"episodes": episodes})

    add("few", 10)
    return add


def test_arms_that_differ_in_demonstrations_alone_are_one_line(write, tmp_path):
    write("more", 50)
    write("other few", 10, "pixels")
    write("other more", 40, "pixels")
    write("alone", 25, "oracle")
    chart = curve_of(tmp_path)
    rows = sorted(row[:2] + row[3:] for row in chart.table.rows)
    assert rows == [
        ("egodtm", "10", "few"), ("egodtm", "50", "more"),
        ("pixels", "10", "other few"), ("pixels", "40", "other more"),
    ]  # fmt: skip
    values = {row[3]: row[2].split(" ")[0] for row in chart.table.rows}
    assert values["few"] == "15.0"
    assert values["more"] == "65.0"


def test_without_arms_that_differ_in_demonstrations_there_is_no_chart(write, tmp_path):
    write("other", 50, "pixels")
    assert curve_of(tmp_path) is None
