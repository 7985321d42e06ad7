import numpy as np
import pytest
from scipy import stats

from egodtm_robot.comparison.inference.estimate import (
    Size,
    difference_estimate,
    half_width,
    tail_probability,
)
from egodtm_robot.comparison.inference.variance import Variance


def variance(total, freedom, by_episodes):
    return Variance(*map(np.array, (total, freedom, by_episodes, total - by_episodes, 1.0)))


def test_the_interval_is_students_over_run_seeds_where_they_spread():
    half = half_width(variance(0.04, 2.0, 0.001), 0.9)
    assert half == pytest.approx(0.2 * stats.t.ppf(0.95, 2))


def test_run_seeds_that_happen_to_agree_claim_no_more_than_their_episodes_know():
    found = difference_estimate(0.1, variance(1e-9, 2.0, 0.01), Size(5, 3, 300), 0.95)
    assert found.interval.high - 0.1 == pytest.approx(0.1 * stats.norm.ppf(0.975))
    assert found.p_value == pytest.approx(2 * stats.norm.sf(1.0))
    assert found.training_share == 0


def test_the_test_rejects_exactly_if_the_interval_excludes_0():
    generator = np.random.default_rng(0)
    for value, total, by_episodes in generator.uniform(0, [0.2, 0.005, 0.005], size=(300, 3)):
        found = difference_estimate(value, variance(total, 2.0, by_episodes), Size(5, 3, 300), 0.9)
        low, high = found.interval
        assert (found.p_value <= 0.1) == (not low <= 0 <= high)


def test_a_tail_against_the_data_is_beyond_one_half():
    assert tail_probability(-0.1, 0.1, 2.0, np.array(0.1)) > 0.5
    assert tail_probability(0.0, 0.0, 2.0, np.array(0.1)) == 0.5
    assert tail_probability(0.3, np.nan, np.nan, np.array(0.1)) == pytest.approx(stats.norm.sf(3))


def test_a_confidence_that_is_none_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1, got 95"):
        half_width(variance(0.04, 2.0, 0.001), 95)
