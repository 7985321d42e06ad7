import numpy as np
import pytest
from scipy import stats

from egodtm_robot.comparison.arms import Condition
from egodtm_robot.comparison.differences import PairedDifferences
from egodtm_robot.comparison.inference.equivalence import equivalence_p_value
from egodtm_robot.comparison.inference.paired import paired_estimate

PLACE = Condition("knob", "", "")


def estimate(seed_means):
    """Of runs whose episodes vary little."""
    noise = 1e-3 * np.random.default_rng(0).normal(size=(len(seed_means), 200))
    noise -= noise.mean(axis=1, keepdims=True)
    rows = range(len(seed_means))
    return paired_estimate(
        PairedDifferences(
            (PLACE,),
            tuple(rows),
            {(PLACE, row): seed_means[row] + noise[row] for row in rows},
            {(PLACE, row): 1000 * row + np.arange(200) for row in rows},
        )
    )


@pytest.mark.parametrize("shift", [-0.02, 0.0, 0.01, 0.025])
def test_it_is_the_larger_of_two_one_sided_t_tests(shift):
    means = shift + np.array([-0.03, 0.0, 0.02, 0.03, -0.01])
    above = stats.ttest_1samp(means, -0.03, alternative="greater").pvalue
    below = stats.ttest_1samp(means, 0.03, alternative="less").pvalue
    assert equivalence_p_value(estimate(means), 0.03) == pytest.approx(max(above, below))


def test_a_difference_beyond_the_margin_is_not_level():
    assert equivalence_p_value(estimate(np.array([-0.06, -0.05, -0.04]))) > 0.5


def test_a_wide_interval_is_not_level_and_a_narrow_one_is():
    wide, narrow = np.array([-0.2, 0.2, 0.0]), np.array([-0.01, 0.01, 0.0])
    assert equivalence_p_value(estimate(wide)) > 0.05
    assert equivalence_p_value(estimate(narrow)) < 0.05


def test_a_margin_of_0_is_refused():
    with pytest.raises(ValueError, match="margin above 0"):
        equivalence_p_value(estimate(np.zeros(3)), 0)
