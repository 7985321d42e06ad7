import math

import numpy as np
import pytest
from scipy import stats

from egodtm_robot.comparison.inference.planning import best_episodes, seeds_needed


def power(seeds, effect, paired, number=20000):
    generator = np.random.default_rng(0)
    if paired:
        found = stats.ttest_1samp(effect + generator.normal(size=(number, seeds)), 0, axis=1)
    else:
        first, second = np.sqrt(0.5) * generator.normal(size=(2, number, seeds))
        found = stats.ttest_ind(effect + first, second, axis=1)
    return (found.pvalue <= 0.05).mean()


@pytest.mark.parametrize("paired", [True, False])
def test_the_planned_run_seeds_have_the_power_and_one_less_has_not(paired):
    # Training deviates by 4 points and 70 episodes by 3: 5 points in all.
    seeds = seeds_needed(0.06, 0.0016, 0.0009 * 70, 70, paired=paired)
    error = 3 * np.sqrt(0.8 * 0.2 / 20000)
    assert power(seeds, 0.06 / 0.05, paired) >= 0.8 - error
    assert power(seeds - 1, 0.06 / 0.05, paired) < 0.8 + error


def test_episodes_help_only_against_their_own_part():
    few, many = (seeds_needed(0.05, 0.002, 0.06, episodes) for episodes in (10, 1000))
    assert few > many
    assert many == pytest.approx(seeds_needed(0.05, 0.002, 0.0, 1), abs=1)


def test_direction_does_not_matter_and_smaller_differences_take_more():
    assert seeds_needed(-0.05, 0.002, 0.06, 70) == seeds_needed(0.05, 0.002, 0.06, 70)
    assert seeds_needed(0.02, 0.002, 0.06, 70) > seeds_needed(0.05, 0.002, 0.06, 70)


def test_a_difference_without_chance_takes_two_run_seeds():
    assert seeds_needed(0.05, 0.0, 0.0, 70) == 2
    assert seeds_needed(0.5, 1e-9, 1e-9, 70) == 2


@pytest.mark.parametrize(
    "numbers",
    [
        (0.0, 0.01, 0.01, 70),
        (0.1, -0.01, 0.01, 70),
        (0.1, 0.01, 0.01, 0),
        (0.1, 0.01, 0.01, 70, 1.0),
        (0.1, float("nan"), 0.01, 70),
    ],
)
def test_numbers_out_of_range_are_refused(numbers):
    with pytest.raises(ValueError, match="Expected a difference other than 0"):
        seeds_needed(*numbers)


def test_what_no_number_of_run_seeds_can_find_is_said():
    with pytest.raises(ValueError, match="100,000 run seeds"):
        seeds_needed(1e-5, 0.01, 0.01, 70)


def test_the_best_number_of_episodes_is_that_with_the_smallest_variance_for_a_budget():
    training, episode, cost = 0.001, 0.05, 200
    number = np.arange(1, 1000)
    # A budget buys in inverse proportion to what one run seed costs.
    variance = (training + episode / number) * (cost + number)
    assert best_episodes(training, episode, cost) == pytest.approx(number[variance.argmin()], abs=1)


def test_episodes_without_end_are_best_where_training_has_no_chance():
    assert best_episodes(0.0, 0.05, 200) == math.inf
    assert best_episodes(1.0, 0.0, 200) == 1
    for numbers in ((-0.1, 0.05, 200), (0.1, 0.05, 0), (math.nan, 0.05, 200)):
        with pytest.raises(ValueError, match="a cost above 0"):
            best_episodes(*numbers)
