import math

import numpy as np
import pytest
from scipy import stats

from egodtm_robot.comparison.arms import Arm, Condition, RunEpisodes
from egodtm_robot.comparison.inference.rates import (
    IncompleteArmError,
    success_rate_estimate,
    unpaired_estimate,
)
from egodtm_robot.core.intervals import wilson_interval


def arm(rates, episodes=70, seeded=True, name="ours"):
    """Of successes (conditions, run seeds)."""
    return Arm(
        name,
        tuple(
            RunEpisodes(
                Condition(f"task{place}", "", ""),
                seed,
                1000 * seed + np.arange(episodes) if seeded else None,
                np.arange(episodes) < successes,
            )
            for place, row in enumerate(rates)
            for seed, successes in enumerate(row)
        ),
    )


def test_a_rate_over_run_seeds_is_students_t_on_the_scale_of_log_odds():
    found = success_rate_estimate(arm([[30, 40, 50], [50, 60, 70]]))
    means = np.array([80, 100, 120]) / 140
    assert found.value == pytest.approx(means.mean())
    inner = (means.mean() * 420 + 0.5) / 421
    half = stats.t.ppf(0.975, 2) * stats.sem(means) / (inner * (1 - inner))
    odds = np.log(inner / (1 - inner))
    assert found.interval == pytest.approx((1 / (1 + np.exp([half - odds, -half - odds]))).tolist())
    assert math.isnan(found.p_value)


@pytest.mark.parametrize("successes", [0, 1, 35, 69, 70])
def test_one_run_has_nearly_wilsons_interval(successes):
    found = success_rate_estimate(arm([[successes]]))
    low, high = wilson_interval(successes, 70)
    assert found.over == "episodes"
    # The variance counts one degree of freedom less.
    assert found.interval == pytest.approx((low, high), rel=0.02, abs=1e-3)


@pytest.mark.parametrize("successes", [[[70, 70, 70]], [[0, 0, 0]], [[70]], [[69, 70, 70]]])
def test_an_interval_stays_within_0_and_1_and_has_a_width(successes):
    low, high = success_rate_estimate(arm(successes)).interval
    assert 0 <= low < high <= 1


def test_run_seeds_that_lack_a_condition_are_left_out():
    whole = arm([[30, 40, 50], [50, 60, 70]])
    part = Arm("ours", tuple(run for run in whole.runs[:-1]))
    assert success_rate_estimate(part).run_seeds == 2
    with pytest.raises(IncompleteArmError, match="each of its 2 conditions.*Train what is missing"):
        success_rate_estimate(Arm("ours", (whole.runs[0], whole.runs[-1])))


def test_results_without_episode_seeds_count_all_episodes_as_different():
    known, unknown = arm([[30, 40, 50]]), arm([[30, 40, 50]], seeded=False)
    assert success_rate_estimate(known).interval == pytest.approx(
        success_rate_estimate(unknown).interval
    )


def test_arms_that_share_nothing_are_compared_by_welchs_test():
    rates = [[20, 40, 60, 50]], [[5, 60, 30]]
    found = unpaired_estimate(arm(rates[0]), arm(rates[1]), 0.9)
    expected = stats.ttest_ind(*(np.array(r[0]) / 70 for r in rates), equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.9)))
    assert (found.run_seeds, found.episodes) == (3, 490)


def test_an_unpaired_difference_with_one_run_seed_is_over_episodes():
    found = unpaired_estimate(arm([[20, 40, 60]]), arm([[30]]))
    assert found.over == "episodes"
    assert found.interval.low < found.value < found.interval.high


def test_arms_under_different_conditions_are_refused():
    with pytest.raises(IncompleteArmError, match="got 1 and 2, of which 1"):
        unpaired_estimate(arm([[30]]), arm([[30], [40]], name="theirs"))
