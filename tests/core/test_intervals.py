import numpy as np
import pytest
from scipy import stats

from egodtm_robot.core.intervals import wilson_interval


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
