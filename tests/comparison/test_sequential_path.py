from dataclasses import replace

import numpy as np
import pytest

from egodtm_robot.comparison.arms import Arm, Condition, RunEpisodes
from egodtm_robot.comparison.inference.sequential import PairedEProcess
from egodtm_robot.comparison.sequential_path import sequential_path
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError

CONDITIONS = [Condition(name, "varied", "default") for name in ("knob", "light")]
EPISODES = 50


def luck(condition, seed):
    return np.random.default_rng([seed, len(condition.environment)]).random(EPISODES)


def arm(name, rate, seeds=range(10), without=()):
    """An arm that solves an episode if its luck is below the rate."""
    return Arm(
        name,
        tuple(
            RunEpisodes(condition, seed, np.arange(EPISODES), luck(condition, seed) < rate)
            for seed in seeds
            for condition in CONDITIONS
            if (condition, seed) not in without
        ),
    )


REFERENCE = arm("reference", 0.5)


def test_each_pair_is_decided_by_its_blocks_and_says_what_it_used():
    path = sequential_path(
        [REFERENCE, arm("better", 0.9), arm("same", 0.5), arm("worse", 0.1)], "reference", range(10)
    )
    assert [one.arm for one in path.pairs] == ["better", "same", "worse"]
    assert [one.verdict for one in path.pairs] == ["first", "equivalent", "second"]
    used = [len(one.blocks) for one in path.pairs]
    assert max(used) < 10
    assert path.runs == 2 * (sum(used) + max(used))
    assert (path.fixed_runs, path.fixed_episodes) == (2 * 4 * 10, 2 * 4 * 10 * EPISODES)
    assert path.episodes == path.runs * EPISODES
    assert not path.active
    assert f"Used {path.runs} of 80 runs" in path.to_markdown()
    assert f"`same` | level within 3 points | {used[1]} of 10 | +0.0 |" in path.to_markdown()
    assert [one["verdict"] for one in path.to_json()["pairs"]] == ["better", "level", "worse"]


def test_alpha_is_split_over_the_pairs():
    rates = {"a": 0.6, "b": 0.3}
    path = sequential_path([REFERENCE, *(arm(*one) for one in rates.items())], "reference", [3, 1])
    process = PairedEProcess(0.05 / 2, 0.03)
    for seed in (3, 1):
        differences = [
            (luck(one, seed) < 0.6).mean() - (luck(one, seed) < 0.5).mean() for one in CONDITIONS
        ]
        process.add(float(np.mean(differences)))
    blocks = path.pairs[0].blocks
    assert [block.run_seed for block in blocks] == [3, 1]
    assert [block.difference for block in blocks] == pytest.approx(process.blocks)
    assert blocks[-1].e_better == pytest.approx(process.e_first)
    # A level of its own would decide what half of it does not.
    pair = [REFERENCE, arm("c", 0.62)]
    lone = sequential_path(pair, "reference", range(10), margin=0.001)
    three = [*pair, arm("d", 0.1), arm("e", 0.1)]
    among = sequential_path(three, "reference", range(10), margin=0.001)
    assert len(lone.pairs[0].blocks) < len(among.pairs[0].blocks)


def test_a_seed_that_is_not_whole_ends_the_way_for_now():
    """What is there of later seeds does not count yet, so an interruption changes no decision."""
    missing = [(CONDITIONS[1], 2)]
    arms = [REFERENCE, arm("better", 0.9, without=missing)]
    path = sequential_path(arms, "reference", range(10))
    assert [block.run_seed for block in path.pairs[0].blocks] == [0, 1]
    assert path.active == {"reference", "better"}
    assert "not decided yet" in path.to_markdown()
    assert "of the fixed design, so far." in path.to_markdown()
    whole = sequential_path([REFERENCE, arm("better", 0.9)], "reference", range(10))
    assert whole.pairs[0].blocks[:2] == path.pairs[0].blocks


def test_runs_after_a_decision_change_nothing():
    whole = sequential_path([REFERENCE, arm("better", 0.9)], "reference", range(10))
    used = len(whole.pairs[0].blocks)
    arms = [arm("reference", 0.5, range(used)), arm("better", 0.9, range(used))]
    assert sequential_path(arms, "reference", range(10)) == whole


def test_a_budget_that_is_used_up_leaves_a_pair_undecided():
    path = sequential_path([REFERENCE, arm("better", 0.9)], "reference", [0, 1])
    assert path.pairs[0].verdict == "undecided"
    assert not path.active
    assert path.runs == path.fixed_runs
    assert "| undecided | 2 of 2 |" in path.to_markdown()


def test_looks_of_one_run_are_conditions_and_no_further_runs():
    arms = [REFERENCE, arm("better", 0.9)]
    both = [
        Arm(one.name, tuple(new for run in one.runs for new in (run, under_another_look(run))))
        for one in arms
    ]
    path, whole = (sequential_path(some, "reference", range(10)) for some in (both, arms))
    assert path.runs == whole.runs
    assert path.episodes == 2 * whole.episodes
    assert path.pairs[0].blocks[0].difference == whole.pairs[0].blocks[0].difference / 2


def under_another_look(run):
    """The same policy where it solves nothing."""
    look = replace(run.condition, look="shifted")
    return replace(run, condition=look, success=np.zeros(EPISODES, bool))


def test_nothing_is_decided_before_there_are_runs():
    path = sequential_path([Arm("one", ()), Arm("other", ())], "one", [0, 1])
    assert path.active == {"one", "other"}
    assert (path.runs, path.fixed_episodes) == (0, 0)
    assert "Used" not in path.to_markdown()


def test_one_arm_or_a_reference_that_is_none_is_a_named_error():
    with pytest.raises(ConfigurationError, match="at least two arms"):
        sequential_path([REFERENCE], "reference", [0])
    with pytest.raises(UnknownNameError, match="'pixels'"):
        sequential_path([REFERENCE], "pixels", [0])
