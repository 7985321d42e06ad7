"""Levels in simulated studies, as benchmarks/statistics_calibration.py measures them at length."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.comparison.arms import Arm, Condition, RunEpisodes
from egodtm_robot.comparison.differences import pair
from egodtm_robot.comparison.inference.equivalence import equivalence_p_value
from egodtm_robot.comparison.inference.paired import paired_estimate
from egodtm_robot.comparison.inference.rates import success_rate_estimate, unpaired_estimate
from egodtm_robot.comparison.inference.sequential import PairedEProcess

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "statistics_calibration.py"
SPEC = importlib.util.spec_from_file_location("statistics_calibration", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
calibration = importlib.util.module_from_spec(SPEC)
sys.modules["statistics_calibration"] = calibration
SPEC.loader.exec_module(calibration)
Study = calibration.Study
STUDIES = 500
ERROR = 3.5 * np.sqrt(0.95 * 0.05 / STUDIES)


@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize(
    ("seeds", "rates", "deviation", "shared"),
    [
        (3, (0.5, 0.5), 0.0, False),
        (3, (0.95, 0.9), 0.05, False),
        (3, (0.6, 0.5), 0.05, True),
        (4, (0.95, 0.95), 0.05, True),
        (1, (0.95, 0.9), 0.0, False),
    ],
)
def test_intervals_of_paired_differences_keep_their_level(seeds, rates, deviation, shared, crossed):
    study = Study(seeds, rates, deviation, shared, crossed=crossed)
    row = calibration.paired_row(study, STUDIES, 1)
    assert row["coverage"] >= 0.95 - ERROR
    if rates[0] == rates[1]:
        assert row["rejected"] == pytest.approx(1 - row["coverage"], abs=0.003)


@pytest.mark.parametrize(("seeds", "shared"), [(3, True), (6, False)])
def test_intervals_are_no_wider_than_needed_where_training_is_the_chance(seeds, shared):
    row = calibration.paired_row(Study(seeds, deviation=0.15, shared=shared), STUDIES, 2)
    assert row["coverage"] == pytest.approx(0.95, abs=ERROR)


def test_a_bootstrap_over_three_run_seeds_does_not_keep_its_level():
    """Why these intervals exist."""
    study = Study(3, deviation=0.05, shared=True)
    row = calibration.paired_row(study, STUDIES, 3, baselines=True)
    assert row["bootstrap"] < 0.9
    assert row["pooled"] < 0.9


def test_a_single_task_keeps_the_level():
    for seeds in (3, 6):
        row = calibration.paired_row(Study(seeds, deviation=0.05, tasks=1), STUDIES, 4)
        assert row["coverage"] >= 0.95 - ERROR


@pytest.mark.parametrize(("rates", "deviation"), [((0.53, 0.5), 0.0), ((0.98, 0.95), 0.02)])
def test_arms_that_differ_by_the_margin_are_seldom_called_level(rates, deviation):
    row = calibration.paired_row(Study(4, rates, deviation), STUDIES, 5)
    assert row["equivalent"] <= 0.05 + ERROR


@pytest.mark.parametrize(("rate", "deviation"), [(0.5, 0.0), (0.5, 0.15), (0.95, 0.05)])
def test_intervals_of_rates_and_unpaired_differences_keep_their_level(rate, deviation):
    row = calibration.rate_row(Study(4, (rate, rate), deviation), STUDIES, 6)
    assert row["coverage"] >= 0.95 - ERROR
    assert row["unpaired"] >= 0.95 - ERROR


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.95, 0.9), (1.0, 0.97)])
def test_tangos_interval_and_mcnemars_test_keep_their_level(rates):
    row = calibration.single_run_row(rates, 70, STUDIES, 7)
    assert row["tango"] >= 0.95 - ERROR
    if rates[0] == rates[1]:
        assert row["mcnemar_rejected"] <= 0.05 + ERROR


@pytest.mark.parametrize(
    ("rates", "deviation", "shared"),
    [((0.5, 0.5), 0.0, False), ((0.95, 0.95), 0.05, True), ((0.98, 0.98), 0.02, False)],
)
def test_one_may_look_after_every_block(rates, deviation, shared):
    row = calibration.sequential_row(Study(10, rates, deviation, shared), 10, STUDIES, 8)
    assert row["first"] + row["second"] <= 0.05 + ERROR
    assert max(row["first"], row["second"]) <= 0.025 + ERROR
    assert row["held"] >= 0.95 - ERROR


def test_looking_after_every_block_does_not_call_a_difference_level():
    # Few episodes on one task: as wide as five tasks, and sooner drawn.
    study = Study(12, (0.93, 0.9), 0.0, tasks=1, episodes=150)
    row = calibration.sequential_row(study, 12, STUDIES, 9)
    assert row["equivalent"] <= 0.05 + ERROR


def test_the_rule_finds_clear_differences_soon():
    row = calibration.stopping_row(0.1, 0.05, 12, STUDIES, 10)
    assert row["right_by_12"] > 0.95
    assert row["mean_blocks"] < 7


def test_planned_run_seeds_have_their_power():
    row = calibration.planned_row((0.9, 0.8), 0.05, STUDIES, 11)
    assert row["power"] == pytest.approx(0.85, abs=0.08)


def test_no_interval_that_keeps_its_level_is_narrower_than_students_over_run_seeds():
    row = calibration.narrowest(3, 5, bins=25)
    assert row["narrowest"] == pytest.approx(row["over_seeds"], rel=0.01)
    assert row["over_cells"] < 0.6 * row["over_seeds"]


@pytest.mark.parametrize("crossed", [False, True])
def test_the_simulation_computes_what_the_comparison_shows(crossed):
    study = Study(3, (0.7, 0.5), 0.05, tasks=2, episodes=20, crossed=crossed)
    outcomes = calibration.simulate(study, 1, np.random.default_rng(12))
    first, second = (
        Arm(
            name,
            tuple(
                RunEpisodes(
                    Condition(f"task{task}", "", ""),
                    seed,
                    (0 if crossed else 100 * seed) + np.arange(20),
                    successes[0, seed, task] > 0,
                )
                for seed in range(3)
                for task in range(2)
            ),
        )
        for name, successes in zip(("ours", "theirs"), outcomes, strict=True)
    )
    differences = pair(first, second)
    means, variance = calibration.summarized(outcomes[0] - outcomes[1], study)
    found = paired_estimate(differences)
    half = calibration.half_width(variance, 0.95)
    assert found.interval == pytest.approx((means[0] - half[0], means[0] + half[0]))
    assert found.p_value == pytest.approx(calibration.p_values(means, variance)[0])
    expected = calibration.equivalence_p_values(means, variance)[0]
    assert equivalence_p_value(found) == pytest.approx(expected)
    each = [calibration.summarized(successes, study) for successes in outcomes]
    low, high = calibration.rate_interval(each[0][0], each[0][1], 120, 0.95)
    assert success_rate_estimate(first).interval == pytest.approx((low[0], high[0]))
    joint = calibration.independent_variance(each[0][1], each[1][1])
    width = np.diff(unpaired_estimate(first, second).interval)[0]
    assert width == pytest.approx(2 * calibration.half_width(joint, 0.95)[0])


def test_the_simulation_decides_as_the_rule_does():
    blocks = np.random.default_rng(13).normal([[0.0], [0.05], [-0.1]], 0.04, size=(3, 12))
    verdicts, after = calibration.verdicts(blocks)
    for row, verdict, taken in zip(blocks, verdicts, after, strict=True):
        process = PairedEProcess()
        decided = [process.add(block) for block in row]
        assert decided[-1] == verdict
        if verdict != "undecided":
            assert decided.index(verdict) == taken - 1
