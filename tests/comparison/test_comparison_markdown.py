import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.comparison.arms import Condition, make_arm
from egodtm_robot.comparison.comparison import compare_arms
from egodtm_robot.comparison.comparison_markdown import condition_names

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_runs import random_arm, run_episodes


def rows(text):
    """The cells of each row of each table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_shows_percent_with_intervals_letters_and_the_difference_to_the_reference():
    arms = [random_arm("poor", 0.3), random_arm("good", 0.7)]
    comparison = compare_arms(arms, "poor")
    found = rows(comparison.to_markdown())
    assert found[0] == ["arm", "knob", "light", "mean", "letters", "difference to `poor`"]
    good = comparison.arm("good")
    cell = good.cells[comparison.conditions[0]]
    low, high = (f"{100 * end:.0f}" for end in cell.interval)
    assert found[2][:2] == ["`good`", f"{100 * cell.rate:.0f} [{low}, {high}]"]
    assert found[2][3].startswith(f"{100 * good.mean.value:.1f} [")
    assert (found[2][4], found[3][4]) == ("a", "b")
    (one,) = comparison.pairs
    assert found[2][5].startswith(f"+{100 * one.success.value:.1f} [+")
    assert found[3][5] == ""


def test_every_row_of_a_table_has_the_columns_of_its_head():
    arms = [
        random_arm("a", 0.3),
        random_arm("b", 0.5, where=["kitchen_knob"]),
        random_arm("c", 0.9),
    ]
    conditions = {run.condition for run in arms[0].runs}
    text = compare_arms(arms, "a", conditions=[*conditions]).to_markdown()
    widths = [len(row) for row in rows(text)]
    assert len(set(widths)) == 2
    assert widths == sorted(widths, key=widths.index)


def test_the_pairs_name_test_verdict_and_the_part_of_training():
    text = compare_arms([random_arm("poor", 0.3), random_arm("good", 0.7)]).to_markdown()
    head, _, row = rows(text)[-3:]
    assert head == ["first", "second", "difference", "p", "p equal", "verdict", "training"]
    assert row[:2] == ["`good`", "`poor`"]
    assert row[3] == "< 0.001"
    assert row[5] == "ahead"
    assert row[6].endswith(" %")


def test_the_legend_says_what_the_intervals_are_over_and_how_many_pairs_are_corrected_for():
    arms = [random_arm(name, rate) for name, rate in (("a", 0.3), ("b", 0.5), ("c", 0.9))]
    text = compare_arms(arms, margin=0.02).to_markdown()
    assert "2 conditions, 6 run seeds" in text
    assert "over run seeds and episodes for a mean" in text
    assert "corrected for 3 pairs (Holm)" in text
    assert "closer than 2 points" in text
    one = compare_arms([random_arm(name, 0.5, seeds=[0]) for name in "ab"]).to_markdown()
    assert "1 run seed, hash" in one
    assert "over episodes alone for a mean" in one
    assert "corrected" not in one


def test_a_rate_of_one_shows_no_more_than_all():
    arms = [make_arm(name, [run_episodes(np.ones(9), seed) for seed in range(3)]) for name in "ab"]
    text = compare_arms(arms).to_markdown()
    assert "100.0 [" in text
    assert ", 10" not in text.replace(", 100]", "")


def test_no_difference_has_no_sign():
    arm = random_arm("a", 0.5)
    text = compare_arms([arm, make_arm("b", arm.runs)], "a").to_markdown()
    assert "0.0 [" in text
    assert "+0.0" not in text
    assert "-0.0" not in text


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        (
            [("franka_kitchen_knob", "v", "d"), ("franka_kitchen_light", "v", "d")],
            ["knob", "light"],
        ),
        ([("franka_kitchen_knob", "v", "d")], ["franka kitchen knob"]),
        ([("a_b", "v", "d"), ("a_b_c", "v", "d")], ["b", "b c"]),
        ([("a", "x", "d"), ("a", "y", "d")], ["a, x", "a, y"]),
        ([("a", "x", "d"), ("a", "x", "e")], ["a, resets d", "a, resets e"]),
        ([("", "", "")], ["success"]),
    ],
)
def test_columns_are_named_by_what_tells_them_apart(conditions, names):
    assert condition_names([Condition(*one) for one in conditions]) == names
