import sys
from pathlib import Path

import pytest

from egodtm_robot.comparison.arms import (
    ArmsError,
    Condition,
    align_arms,
    make_arm,
    met_several,
    split_arms,
)

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_runs import run_episodes


def arm(name, *met):
    """An arm that has met environments, each under a look."""
    return make_arm(
        name, [run_episodes([True, False], 0, Condition(where, look, "r")) for where, look in met]
    )


def met(arms):
    return {
        one.name: [(run.condition.environment, run.condition.look) for run in one.runs]
        for one in arms
    }


def test_runs_are_in_order_and_none_is_there_twice():
    runs = [run_episodes([True], seed, Condition("a", "v", "r")) for seed in (2, 0, 1)]
    assert [run.run_seed for run in make_arm("a", runs).runs] == [0, 1, 2]
    with pytest.raises(ArmsError, match=r"one run of mine for a \(look v, resets r\) and run seed"):
        make_arm("mine", [*runs, runs[0]])


def test_arms_are_split_by_their_looks_and_keep_their_names_if_there_is_one_look():
    both = arm("both", ("a", "varied"), ("a", "shifted"), ("b", "varied"))
    assert met(split_arms([both, arm("one", ("a", "varied"))], "look")) == {
        "both (shifted)": [("a", "")],
        "both (varied)": [("a", ""), ("b", "")],
        "one (varied)": [("a", "")],
    }
    assert met(split_arms([arm("one", ("a", "varied"))], "look")) == {"one": [("a", "")]}


def test_arms_that_met_everything_under_the_same_looks_stay_as_they_are():
    arms = [arm(name, ("kitchen", "varied"), ("metaworld", "fixed")) for name in "xy"]
    assert met(align_arms(arms)) == met(arms)


def test_looks_that_differ_between_arms_are_taken_out_of_the_condition():
    arms = [
        arm("x", ("kitchen", "varied"), ("metaworld", "fixed")),
        arm("y", ("kitchen", "shifted"), ("metaworld", "fixed")),
    ]
    assert met(align_arms(arms)) == {
        name: [("kitchen", ""), ("metaworld", "")] for name in ("x", "y")
    }


def test_an_arm_that_met_an_environment_under_several_looks_keeps_them():
    arms = [arm("x", ("a", "varied"), ("a", "shifted")), arm("y", ("a", "varied"))]
    assert met(align_arms(arms)) == met(arms)
    assert met_several(arms, "look")
    assert not met_several(arms[1:], "look")
    assert not met_several(arms, "resets")
