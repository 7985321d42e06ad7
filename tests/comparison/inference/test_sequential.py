import numpy as np
import pytest
from scipy import stats

from egodtm_robot.comparison.inference.sequential import (
    PairedEProcess,
    log_e_value,
    log_likelihood_ratio,
)


def fed(blocks, **settings):
    process = PairedEProcess(**settings)
    for block in blocks:
        process.add(block)
    return process


@pytest.mark.parametrize(
    "blocks",
    [[0.3, 0.1, 0.5, 0.2], [-0.3, 0.1, 0.5, -0.2, 0.1], [-0.5, -0.4, -0.45], [0.3, -0.2]],
)
def test_the_evidence_is_the_likelihood_ratio_of_the_t_statistic(blocks):
    number = len(blocks)
    statistic = stats.ttest_1samp(blocks, 0).statistic
    effects, weights = np.array([0.25, 0.5, 1, 2, 4]), np.array([1, 1, 4, 4, 2]) / 12
    densities = stats.nct.pdf(statistic, number - 1, effects * np.sqrt(number))
    expected = (weights * densities).sum() / stats.t.pdf(statistic, number - 1)
    assert np.exp(log_e_value(np.array(blocks))) == pytest.approx(expected)


def test_the_evidence_does_not_depend_on_the_unit():
    blocks = np.random.default_rng(0).normal(size=(20, 7))
    assert log_e_value(blocks) == pytest.approx(log_e_value(1e-4 * blocks))


def test_evidence_of_very_many_blocks_is_finite():
    blocks = 0.2 + np.random.default_rng(1).normal(size=3000)
    assert 5 < log_e_value(blocks) < 3000
    assert -3000 < log_e_value(-blocks) < 0


@pytest.mark.parametrize("number", [2, 3, 6, 24])
def test_without_a_difference_evidence_averages_1(number):
    """By the angle between normal blocks and equal ones, whose density is cos^(number - 2)."""
    angle = np.pi * ((np.arange(1000) + 0.5) / 1000 - 0.5)
    density = np.cos(angle) ** (number - 2)
    evidence = np.exp(log_likelihood_ratio(number, np.sqrt(number) * np.sin(angle)))
    assert (density * evidence).sum() / density.sum() == pytest.approx(1, abs=1e-4)


def test_evidence_stays_a_martingale_from_block_to_block():
    """Given the past, the next block leaves it the same on average: so one may always stop."""
    past = np.array([0.3, -0.1, 0.2])
    # What comes next, given the past up to its scale: the scale has its posterior distribution.
    generator = np.random.default_rng(0)
    scale = np.sqrt((past**2).sum() / generator.chisquare(3, 4000))
    following = scale * generator.normal(size=4000)
    blocks = np.concatenate([np.tile(past, (4000, 1)), following[:, None]], axis=1)
    values = np.exp(log_e_value(blocks))
    error = values.std() / np.sqrt(len(values))
    assert values.mean() == pytest.approx(np.exp(log_e_value(past)), abs=4 * error)


def test_an_arm_that_is_always_ahead_is_found_after_four_blocks():
    blocks = [0.2, 0.25, 0.22, 0.18, 0.21]
    assert [fed(blocks[:taken]).verdict for taken in range(6)] == ["undecided"] * 4 + ["first"] * 2
    assert fed(-np.array(blocks)).verdict == "second"
    assert fed(blocks).e_first == fed(-np.array(blocks)).e_second > 40


def test_arms_that_never_differ_by_more_than_the_margin_are_level():
    blocks = 0.005 * np.tile([1, -1], 6)
    process = fed(blocks, margin=0.03)
    assert process.verdict == "equivalent"
    assert process.e_equivalent > 20
    assert fed(blocks, margin=0.001).verdict == "undecided"


def test_arms_that_do_the_same_in_every_episode_are_level():
    process = fed([0.0] * 6)
    assert (process.e_first, process.e_second) == (1, 1)
    assert process.verdict == "equivalent"


def test_a_verdict_stays_and_blocks_go_on():
    process = fed([0.2, 0.25, 0.22, 0.18, -1.0, -1.0, -1.0])
    assert process.verdict == "first"
    assert len(process.blocks) == 7


def test_the_interval_is_what_is_not_ruled_out():
    blocks = [0.2, 0.25, 0.22, 0.18, 0.21, 0.19]
    low, high = fed(blocks).interval
    assert 0.1 < low < np.mean(blocks) < high < 0.3
    for limit, decided in ((low + 1e-6, "undecided"), (low - 1e-6, "first")):
        assert fed(np.array(blocks) - limit).verdict == decided
    for limit, decided in ((high - 1e-6, "undecided"), (high + 1e-6, "second")):
        assert fed(np.array(blocks) - limit).verdict == decided


def test_the_interval_rules_nothing_out_before_the_evidence_can():
    for taken in range(4):
        assert fed([0.2, 0.25, 0.22][:taken]).interval == (-1, 1)
    assert fed([0.0] * 8).interval == pytest.approx((0, 0), abs=1e-9)


def test_a_smaller_alpha_asks_for_more():
    blocks = [0.2, 0.25, 0.22, 0.18]
    assert fed(blocks, alpha=0.05).verdict == "first"
    assert fed(blocks, alpha=0.05 / 3).verdict == "undecided"


def test_nothing_is_decided_before_the_first_block():
    process = PairedEProcess()
    assert (process.verdict, process.e_first, process.e_equivalent) == ("undecided", 1, 1)


def test_numbers_out_of_range_are_refused():
    for settings in ({"alpha": 0}, {"alpha": 1}, {"margin": 0}, {"margin": 3}):
        with pytest.raises(ValueError, match="between 0 and 1"):
            PairedEProcess(**settings)
    for block in (1.5, -1.01, np.nan):
        with pytest.raises(ValueError, match=r"in \[-1, 1\]"):
            PairedEProcess().add(block)
