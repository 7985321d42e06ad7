import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.comparison.advice import advice
from egodtm_robot.comparison.arms import make_arm
from egodtm_robot.comparison.differences import pair
from egodtm_robot.comparison.inference.paired import paired_estimate
from egodtm_robot.comparison.inference.rates import unpaired_estimate

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_runs import random_arm, run_episodes


def difference(spread, seeds=range(8), episodes=40):
    first = random_arm("first", 0.5, seeds, spread=spread, episodes=episodes)
    return paired_estimate(pair(first, random_arm("second", 0.5, seeds, episodes=episodes)))


def widths(text):
    """Half the interval now, with twice the seeds and with twice the episodes, in points."""
    return [float(part.split()[0].rstrip(",:.")) for part in text.split("±")[1:]]


def test_where_training_is_the_larger_part_run_seeds_are_advised():
    text = advice("first", "second", difference(0.15), "undecided")
    now, seeds, episodes = widths(text)
    assert seeds < 0.75 * now
    assert episodes > 0.85 * now
    assert "first against second" in text
    assert text.endswith("add more run seeds to decide it.")


def test_where_episodes_are_all_of_it_they_are_advised():
    # Differences that are the same in every run: no training, only episodes.
    first = [np.arange(40) % 4 == 0, np.arange(40) % 4 == 1] * 4
    arms = [
        make_arm("a", [run_episodes(one, seed) for seed, one in enumerate(first)]),
        make_arm("b", [run_episodes(np.arange(40) % 4 == 2, seed) for seed in range(8)]),
    ]
    text = advice("a", "b", paired_estimate(pair(*arms)), "undecided")
    assert "0 % of the variance of this difference is training and 100 % episodes" in text
    assert "add more episodes, which need no training, to decide it" in text


def test_the_promise_of_twice_the_run_seeds_is_kept():
    half, whole = difference(0.15, range(60)), difference(0.15, range(120))
    promised = widths(advice("a", "b", half, "undecided"))[1]
    low, high = whole.interval
    assert promised == pytest.approx(100 * (high - low) / 2, rel=0.15)


def test_where_all_run_seeds_meet_the_same_episodes_more_of_them_do_not_help():
    # Every run of an arm does the same: the same 40 episodes are all the chance there is.
    first, second = np.arange(40) % 3 == 0, np.arange(40) % 4 == 0
    arms = [
        make_arm(name, [run_episodes(solved, seed, first=0) for seed in range(6)])
        for name, solved in (("a", first), ("b", second))
    ]
    text = advice("a", "b", paired_estimate(pair(*arms)), "undecided")
    now, seeds, episodes = widths(text)
    assert seeds > 0.95 * now
    assert episodes == pytest.approx(now / np.sqrt(2), rel=0.05)
    assert "add more episodes" in text


def test_arms_that_share_no_episodes_are_advised_on_the_episodes_of_each():
    first, second = random_arm("first", 0.5, range(8)), random_arm("second", 0.5, range(8, 16))
    estimate = unpaired_estimate(first, second)
    now, seeds, _ = widths(advice("a", "b", estimate, "undecided", paired=False))
    low, high = estimate.interval
    assert now == pytest.approx(100 * (high - low) / 2, abs=0.06)
    # The root of two, and a little for the degrees of freedom.
    assert 0.6 < seeds / now < 0.74


def test_what_is_decided_needs_no_more():
    assert "decided (ahead), so neither is needed" in advice("a", "b", difference(0.1), "ahead")


def test_one_run_seed_gets_the_advice_to_add_some():
    text = advice("a", "b", difference(0.1, [0]), "undecided")
    assert "Add run seeds before anything else" in text
