import dataclasses
import sys
from pathlib import Path

import pytest

from egodtm_robot.comparison.comparison import compare_arms
from egodtm_robot.comparison.report.parts import condition_name, environment_name, number, p_text
from egodtm_robot.comparison.report.ranking import finding, ranking
from egodtm_robot.comparison.report.svg import chart_style

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_runs import condition, random_arm


@pytest.fixture(scope="module")
def comparison():
    arms = [random_arm(f"arm {10 * rate:.0f}", rate, range(3)) for rate in (0.2, 0.5, 0.8)]
    return compare_arms(arms, "arm 5")


def test_a_finding_says_who_is_ahead_whatever_the_order(comparison):
    pair = comparison.difference("arm 8", "arm 2")
    assert pair.verdict == "ahead"
    text = finding(pair, 0.03).text
    assert text.startswith("arm 8 is ahead of arm 2: +")
    assert finding(pair.reversed(), 0.03) == finding(pair, 0.03)


def test_equal_and_undecided_are_different_findings(comparison):
    (pair, *_) = comparison.pairs
    equal = finding(dataclasses.replace(pair, verdict="equal"), 0.01)
    assert "are equal within 1 point, as tested" in equal.text
    undecided = finding(dataclasses.replace(pair, verdict="undecided"), 0.025)
    assert "Neither a difference nor a tie within 2.5 points is shown." in undecided.text
    assert "two separate experiments" not in undecided.text
    alone = finding(dataclasses.replace(pair, paired=False), 0.03)
    assert "as uncertain as two separate experiments" in alone.text


def test_pairs_with_the_reference_are_named_first(comparison):
    with chart_style():
        found = ranking(comparison)
    assert len(found.findings) == 3
    assert "arm 5" in found.findings[0].text
    assert "arm 5" in found.findings[1].text
    assert [row[0] for row in found.table.rows] == ["arm 8", "arm 5", "arm 2"]
    assert found.table.rows[1][3] == "reference"


def test_the_maximum_over_checkpoints_stands_beside_what_it_inflates(comparison):
    first, *others = comparison.arms
    inflated = dataclasses.replace(first, checkpoint_maximum=first.mean.value + 0.05)
    with chart_style():
        table = ranking(dataclasses.replace(comparison, arms=(inflated, *others))).table
    at = table.head.index("maximum over checkpoints")
    assert table.rows[0][at].endswith("(+5.0 over fresh episodes)")
    assert table.rows[1][at] == "\N{EN DASH}"


def test_names_of_conditions_are_as_short_as_they_can_be():
    kitchen = [condition("franka_kitchen_knob"), condition("franka_kitchen_slide_cabinet")]
    assert [condition_name(one, kitchen) for one in kitchen] == ["knob", "slide cabinet"]
    assert condition_name(kitchen[0], kitchen[:1]) == "franka kitchen knob"
    looks = [condition("knob"), condition("knob", look="shifted")]
    assert condition_name(looks[1], looks) == "knob, look shifted"
    assert environment_name("task_1", ["task_1", "task_2"]) == "task 1"
    assert environment_name("a_b", ["a_b", "a"]) == "a b"


def test_numbers_are_written_alike():
    minus = "\N{MINUS SIGN}"
    assert number(-1.25, 1, sign=True) == f"{minus}1.2"
    assert number(-0.01, 1, sign=True) == number(0.0, 1, sign=True) == "0.0"
    assert number(float("nan"), 1) == "\N{EN DASH}"
    assert p_text(0.0001, alone=True) == "<\N{NO-BREAK SPACE}0.001"
    assert p_text(0.0426) == "=\N{NO-BREAK SPACE}0.043"
    assert p_text(float("nan")) == "unknown"
