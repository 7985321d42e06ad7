import math

import numpy as np
import pytest
from scipy import stats

from egodtm_robot.comparison.arms import Condition
from egodtm_robot.comparison.differences import PairedDifferences
from egodtm_robot.comparison.inference.paired import paired_estimate

PLACES = tuple(Condition(name, "", "") for name in ("knob", "light"))


def differences(values):
    """Of values (conditions, seeds, episodes)."""
    conditions, seeds, episodes = values.shape
    keys = [(place, seed) for place in range(conditions) for seed in range(seeds)]
    return PairedDifferences(
        PLACES[:conditions],
        tuple(range(seeds)),
        {(PLACES[place], seed): values[place, seed] for place, seed in keys},
        {(PLACES[place], seed): 1000 * seed + np.arange(episodes) for place, seed in keys},
    )


def test_it_is_students_t_of_the_run_seeds_means():
    values = np.random.default_rng(0).normal(size=(2, 4, 50))
    values += np.array([-1.0, 0.0, 1.0, 2.0])[:, None]
    found = paired_estimate(differences(values), 0.9)
    expected = stats.ttest_1samp(values.mean(axis=(0, 2)), 0)
    assert found.value == pytest.approx(values.mean())
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.9)))
    assert (found.degrees_of_freedom, found.over) == (3, "runs and episodes")
    assert (found.conditions, found.run_seeds, found.episodes) == (2, 4, 400)
    assert found.training_share > 0.9
    assert found.training_share + found.episode_share == pytest.approx(1)


def test_every_condition_weighs_the_same_whatever_its_episodes():
    found = differences(np.ones((2, 2, 10)))
    found.values[PLACES[0], 1] = np.zeros(2)
    found.episode_seeds[PLACES[0], 1] = np.array([1000, 1001])
    assert paired_estimate(found).value == pytest.approx(0.75)


def test_one_run_seed_gives_an_interval_over_episodes_that_says_so():
    values = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], size=(2, 1, 100))
    found = paired_estimate(differences(values))
    assert found.over == "episodes"
    assert math.isnan(found.training_share)
    error = values.mean(axis=(0, 1)).std(ddof=1) / 10
    assert found.interval.high - found.value == pytest.approx(1.96 * error, rel=0.01)


def test_a_confidence_that_is_none_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        paired_estimate(differences(np.zeros((2, 2, 10))), 1.0)
