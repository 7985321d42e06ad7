import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from egodtm_robot.comparison.plan import Chance, NoChanceError, Plan, chance_of, given_chance
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_runs import random_arm

CHANCE = given_chance(0.05, 0.2, 0.05, 5)


def test_more_episodes_need_fewer_run_seeds_but_never_none():
    plan = Plan.of(CHANCE, (0.85, 0.9), [10, 50, 100_000], 0.8, 0.05)
    few, some, endless = plan.run_seeds.values()
    assert few > some > endless
    # Training alone remains: the paired t-test of differences of 0.05 with a deviation of 0.05.
    assert 8 <= endless <= 11


def test_the_plan_finds_the_difference_as_often_as_it_promises():
    """Simulated runs of the planned size, tested as a comparison tests them."""
    generator = np.random.default_rng(0)
    plan = Plan.of(CHANCE, (0.85, 0.9), [50], 0.8, 0.05)
    seeds = plan.run_seeds[50]
    training = generator.normal(0.05, 0.05, (4_000, seeds))
    episodes = generator.normal(0, np.sqrt(CHANCE.episode_variance / 50), (4_000, seeds))
    means = training + episodes
    t = means.mean(1) / (means.std(1, ddof=1) / np.sqrt(seeds))
    found = np.mean(np.abs(t) > stats.t.ppf(0.975, seeds - 1))
    assert 0.78 < found < 0.87


def test_the_plan_is_a_sentence_and_a_table():
    text = Plan.of(CHANCE, (0.9, 0.85), [50, 70], 0.8, 0.05).to_markdown()
    assert "To tell 85 from 90 % at 80 % power (two-sided test at 5 %)" in text
    assert sum(line.startswith(("| 50 |", "| 70 |")) for line in text.splitlines()) == 2
    assert "5.0 points beyond their episodes" in text


def test_what_no_number_of_runs_can_tell_apart_says_so():
    assert "too many" in Plan.of(CHANCE, (0.5, 0.5001), [50], 0.8, 0.05).to_markdown()


def test_the_chance_is_that_of_runs_that_were_made():
    arms = [random_arm(name, 0.5, range(12), spread=0.1) for name in ("a", "bb", "ccc")]
    chance = chance_of(arms)
    assert "median of 3 pairs over 12 run seeds" in chance.source
    assert 0.005 < chance.training_variance < 0.06
    one = chance_of(arms, ["ccc", "a"])
    assert "that of ccc against a" in one.source


def test_chance_that_runs_do_not_show_is_not_invented():
    with pytest.raises(NoChanceError, match="two run seeds or more"):
        chance_of([random_arm(name, 0.5, [0]) for name in "ab"])
    with pytest.raises(ConfigurationError, match="two arms or more.*got a"):
        chance_of([random_arm("a", 0.5)])
    with pytest.raises(UnknownNameError, match="'c'"):
        chance_of([random_arm(name, 0.5) for name in "ab"], ["a", "c"])


def test_given_chance_is_that_of_paired_successes():
    assert given_chance(0.05, 0.3, 0.1, 1) == Chance(0.05**2, 0.3 - 0.01, "as given")
    with pytest.raises(ConfigurationError, match=r"at least the difference 0\.1"):
        given_chance(0.05, 0.05, -0.1, 1)
