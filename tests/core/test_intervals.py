import numpy as np
import pytest
from scipy import stats

from egodtm_robot.core.intervals import (
    bootstrap_difference,
    bootstrap_mean_interval,
    bootstrap_paired_difference,
    bootstrap_success_rate,
    wilson_interval,
)


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
        bootstrap_success_rate([np.ones(3)], np.random.default_rng(0), confidence=95)


def test_bootstrap_is_reproducible_and_centered():
    outcomes = [np.arange(100) < 60, np.arange(100) < 50, np.arange(100) < 70]
    first = bootstrap_success_rate(outcomes, np.random.default_rng(1))
    again = bootstrap_success_rate(outcomes, np.random.default_rng(1))
    assert first == again
    assert first.value == pytest.approx(0.6)
    assert first.interval.low < 0.6 < first.interval.high


def test_bootstrap_is_wider_where_seeds_disagree():
    generator = np.random.default_rng(0)
    agree = [np.arange(100) < 50] * 4
    disagree = [np.arange(100) < k for k in (20, 40, 60, 80)]
    narrow = bootstrap_success_rate(agree, generator).interval
    wide = bootstrap_success_rate(disagree, generator).interval
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    # Where seeds agree it is the binomial interval of all episodes together.
    wilson = wilson_interval(200, 400)
    assert narrow.high - narrow.low == pytest.approx(wilson.high - wilson.low, rel=0.1)


def test_bootstrap_covers_the_true_rate_over_seeds():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        rates = np.clip(generator.normal(0.6, 0.05, 3), 0, 1)
        outcomes = [generator.random(70) < rate for rate in rates]
        interval = bootstrap_success_rate(outcomes, generator, resamples=1_000).interval
        covered += interval.low <= 0.6 <= interval.high
    assert covered / 300 > 0.88


def test_bootstrap_difference_tells_clear_from_unclear():
    generator = np.random.default_rng(0)
    better = [np.arange(100) < k for k in (75, 80, 85)]
    worse = [np.arange(100) < k for k in (40, 45, 50)]
    clear = bootstrap_difference(better, worse, generator)
    assert clear.value == pytest.approx(0.35)
    assert clear.interval.low > 0
    unclear = bootstrap_difference(better, better, generator)
    assert unclear.interval.low < 0 < unclear.interval.high


def test_bootstrap_refuses_nothing():
    for outcomes in ([], [np.ones(3), np.ones(0)]):
        with pytest.raises(ValueError, match="at least one training seed"):
            bootstrap_success_rate(outcomes, np.random.default_rng(0))


def simulated_differences(generator, seeds=6, tasks=5, episodes=70, gap=0.0):
    """Two equally good policies but for ``gap``, on shared episodes that are hard or easy."""
    differences = []
    for _ in range(seeds):
        skill = generator.normal(0, 0.08, 2)
        found = []
        for _ in range(tasks):
            ease = generator.uniform(0.4, 0.9, episodes)
            luck = generator.random((2, episodes))
            solved = luck < np.clip(ease + skill[:, None] + [[gap / 2], [-gap / 2]], 0, 1)
            found.append(solved[0].astype(int) - solved[1])
        differences.append(found)
    return differences


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_the_paired_interval_covers_the_true_difference(gap):
    generator = np.random.default_rng(5)
    covered = []
    for _ in range(400):
        estimate = bootstrap_paired_difference(
            simulated_differences(generator, gap=gap), generator, resamples=400
        )
        covered.append(estimate.interval.low <= gap <= estimate.interval.high)
    # Percentiles of six resampled seeds are known to be a little short; far off would be a fault.
    assert 0.88 <= np.mean(covered) <= 0.98


def test_the_paired_difference_weighs_tasks_alike():
    generator = np.random.default_rng(0)
    seed = [np.ones(10, int), np.zeros(90, int)]
    estimate = bootstrap_paired_difference([seed, seed], generator)
    assert estimate.value == pytest.approx(0.5)
    assert estimate.interval == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(
    "differences",
    [[], [[np.array([], int)]], [[np.array([2])]], [[np.zeros(3, int)], [np.zeros(3, int)] * 2]],
)
def test_what_is_no_paired_difference_is_refused(differences):
    with pytest.raises(ValueError, match="Expected"):
        bootstrap_paired_difference(differences, np.random.default_rng(0))


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
