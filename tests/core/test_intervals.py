import numpy as np
import pytest
from scipy import stats

from egodtm_robot.core.intervals import bootstrap_mean_interval, wilson_interval


@pytest.mark.parametrize(("successes", "trials"), [(0, 50), (1, 3), (25, 50), (147, 150), (8, 8)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_interval_agrees_with_scipy(successes, trials, confidence):
    expected = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    interval = wilson_interval(successes, trials, confidence)
    assert interval == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= interval.low <= successes / trials <= interval.high <= 1


def test_wilson_interval_keeps_its_level():
    generator = np.random.default_rng(0)
    for rate in (0.05, 0.5, 0.9):
        draws = generator.binomial(50, rate, 4_000)
        intervals = {k: wilson_interval(int(k), 50) for k in np.unique(draws)}
        covered = np.mean([intervals[k].low <= rate <= intervals[k].high for k in draws])
        assert 0.92 < covered < 0.985


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes, trials):
    with pytest.raises(ValueError, match="Expected 0 <= successes"):
        wilson_interval(successes, trials)


def test_impossible_confidence_is_refused():
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, 1.0)
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_mean_interval(np.ones(3), list("abc"), np.random.default_rng(0), confidence=95)


def test_the_interval_of_a_mean_agrees_with_the_normal_one_where_clusters_are_rows():
    values = np.random.default_rng(0).normal(3, 2, 400)
    names = [str(row) for row in range(400)]
    interval = bootstrap_mean_interval(values, names, np.random.default_rng(1))
    error = 1.96 * values.std() / np.sqrt(400)
    assert interval == pytest.approx((values.mean() - error, values.mean() + error), abs=0.03)


def test_the_interval_of_a_mean_draws_whole_clusters():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        # Twelve clusters of one to nine rows that share most of their value; the mean is 0.
        sizes = generator.integers(1, 10, 12)
        values = np.repeat(generator.normal(size=12), sizes)
        values = values + 0.1 * generator.normal(size=len(values))
        names = np.repeat([f"video {number}" for number in range(12)], sizes).tolist()
        interval = bootstrap_mean_interval(values, names, generator, resamples=300)
        covered += interval.low <= 0 <= interval.high
    # Nominally 190; a bootstrap of the rows covers about 120.
    assert covered >= 165


def test_the_interval_of_a_mean_needs_two_clusters_and_a_name_for_each_value():
    generator = np.random.default_rng(0)
    assert np.isnan(bootstrap_mean_interval(np.ones(3), ["a"] * 3, generator)).all()
    with pytest.raises(ValueError, match="3 clusters"):
        bootstrap_mean_interval(np.ones(2), ["a", "b", "c"], generator)
    with pytest.raises(ValueError, match="shape"):
        bootstrap_mean_interval(np.ones(0), [], generator)
