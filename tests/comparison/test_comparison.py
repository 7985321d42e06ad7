import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from egodtm_robot.comparison.arms import Arm, make_arm, split_arms
from egodtm_robot.comparison.comparison import compare_arms
from egodtm_robot.comparison.differences import PairingError, pair
from egodtm_robot.comparison.inference.paired import paired_estimate
from egodtm_robot.comparison.provenance import MixedRunsError, Provenance
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_runs import condition, random_arm, run_episodes


@pytest.fixture(scope="module")
def arms():
    return [random_arm("poor", 0.3), random_arm("good", 0.7), random_arm("better", 0.74)]


@pytest.fixture(scope="module")
def comparison(arms):
    return compare_arms(arms, reference="poor")


def test_arms_are_ranked_by_their_mean_over_conditions(arms, comparison):
    assert [arm.name for arm in comparison.arms] == ["better", "good", "poor"]
    for arm in arms:
        rates = [np.mean(run.success) for run in arm.runs]
        assert comparison.arm(arm.name).mean.value == pytest.approx(np.mean(rates))
    with pytest.raises(UnknownNameError, match="'good'"):
        comparison.arm("goood")


def test_a_cell_pools_the_episodes_of_all_run_seeds(arms, comparison):
    place = comparison.conditions[0]
    cell = comparison.arm("good").cells[place]
    runs = [run.success for run in arms[1].runs if run.condition == place]
    assert (cell.episodes, cell.successes) == (240, int(np.sum(runs)))
    assert cell.run_rates[3] == np.mean(runs[3])
    expected = stats.binomtest(cell.successes, 240).proportion_ci(0.95, method="wilson")
    assert cell.interval == pytest.approx(tuple(expected))


def test_every_pair_is_compared_once_on_shared_episodes_the_better_one_first(arms, comparison):
    pairs = [(one.first, one.second) for one in comparison.pairs]
    assert pairs == [("better", "good"), ("better", "poor"), ("good", "poor")]
    found = comparison.difference("good", "poor")
    assert found.paired
    assert found.success == paired_estimate(pair(arms[1], arms[0]))


def test_a_difference_can_be_asked_for_either_way(comparison):
    forth, back = comparison.difference("good", "poor"), comparison.difference("poor", "good")
    assert back.success.value == -forth.success.value
    assert back.success.interval == (-forth.success.interval.high, -forth.success.interval.low)
    assert (forth.verdict, back.verdict) == ("ahead", "behind")
    assert comparison.difference("good", "nobody") is None


def test_p_values_are_corrected_for_all_pairs_by_holms_method(arms, comparison):
    raw = [paired_estimate(pair(a, b)).p_value for a, b in itertools.combinations(arms, 2)]
    ordered = np.sort(raw)
    expected = np.maximum.accumulate(np.minimum(ordered * [3, 2, 1], 1))
    assert np.sort([one.p_value for one in comparison.pairs]) == pytest.approx(expected)


def test_verdicts_and_letters_follow_from_the_tests(comparison):
    assert comparison.difference("better", "poor").verdict == "ahead"
    close = comparison.difference("better", "good")
    assert close.verdict == "undecided"
    letters = {arm.name: arm.letters for arm in comparison.arms}
    assert letters == {"better": "a", "good": "a", "poor": "b"}


def test_a_wide_margin_makes_close_arms_equal_but_no_clear_difference(arms):
    wide = compare_arms(arms, margin=0.2)
    assert wide.difference("better", "good").verdict == "equal"
    assert wide.difference("better", "poor").verdict == "ahead"
    assert wide.reference is None


def test_an_arm_against_itself_is_equal(arms):
    twin = Arm("twin", arms[1].runs)
    found = compare_arms([arms[1], twin]).pairs[0]
    assert (found.success.value, found.p_value) == (0, 1)
    assert found.verdict == "equal"


def test_two_single_runs_are_compared_by_exact_methods():
    first, second = np.arange(40) < 30, (np.arange(40) < 18) | (np.arange(40) == 39)
    found = compare_arms(
        [make_arm("first", [run_episodes(first)]), make_arm("second", [run_episodes(second)])]
    )
    (one,) = found.pairs
    assert one.success.over == "episodes"
    # 12 episodes only the first solves, 1 only the second.
    assert one.success.p_value == pytest.approx(stats.binomtest(1, 13).pvalue)
    low, high = one.success.interval
    assert -1 < low < 11 / 40 < high < 1
    assert (11 / 40 - low) != pytest.approx(high - 11 / 40), "Tango's interval is not symmetric"
    assert any("nothing about training again" in note for note in found.notes)
    assert "Add run seeds" in found.advice


def test_one_run_seed_invents_no_interval_over_seeds():
    found = compare_arms([random_arm("a", 0.5, seeds=[0]), random_arm("b", 0.8, seeds=[0])])
    assert {one.success.over for one in found.pairs} == {"episodes"}
    assert np.isnan(found.pairs[0].success.training_share)
    assert any("add run seeds" in note for note in found.notes)
    assert found.to_json()["pairs"][0]["success"]["training_share"] is None


def test_pairs_of_one_run_seed_among_others_are_named(arms):
    found = compare_arms([*arms, random_arm("single", 0.5, seeds=[0])])
    (note,) = [note for note in found.notes if "With one run seed" in note]
    assert "as for better and single; good and single; single and poor, an interval" in note
    assert "(over episodes alone where there is one run seed)" in found.to_markdown()


def test_progress_and_time_stand_beside_success():
    def arm(name, share, step):
        solved = np.where(np.arange(20) < 10, step, np.nan)
        runs = [
            run_episodes(np.arange(20) < 10, seed, progress=np.full(20, share), solved_step=solved,
                         steps=np.full(20, 50))
            for seed in range(2)
        ]  # fmt: skip
        return make_arm(name, runs)

    found = compare_arms([arm("fast", 0.9, 10.0), arm("slow", 0.6, 30.0)])
    assert found.arm("fast").progress == pytest.approx(0.9)
    assert found.arm("slow").solve_time == pytest.approx((10 * 30 + 10 * 50) / 20)
    (one,) = found.pairs
    assert one.success.value == 0
    assert one.progress.value == pytest.approx(0.3)
    assert one.solve_time.value == pytest.approx(-10)
    assert one.reversed().solve_time.value == pytest.approx(10)


def test_r3ms_maximum_stands_beside_the_fresh_rate():
    runs = [run_episodes(np.arange(10) < 5, seed, checkpoint_maximum=0.7) for seed in range(2)]
    plain = [run_episodes(np.arange(10) < 5, seed) for seed in range(2)]
    found = compare_arms([make_arm("r3m", runs), make_arm("plain", plain)])
    assert found.arm("r3m").checkpoint_maximum == pytest.approx(0.7)
    assert found.arm("plain").checkpoint_maximum is None
    assert "70.0 (+20.0)" in found.to_markdown()


def test_a_mean_over_several_looks_says_so(arms):
    both = [
        make_arm(arm.name, [*arm.runs, *(replace(run, condition=replace(run.condition,
                 look="shifted")) for run in arm.runs)])
        for arm in arms
    ]  # fmt: skip
    assert any("over the looks shifted, varied together" in n for n in compare_arms(both).notes)
    assert compare_arms(arms).notes == ()


def test_a_condition_that_one_arm_lacks_is_shown_and_left_out_of_means():
    whole, part = random_arm("whole", 0.6), random_arm("part", 0.5, where=["kitchen_knob"])
    found = compare_arms([whole, part])
    assert found.compared == (condition("kitchen_knob"),)
    assert condition("kitchen_light") in found.arm("whole").cells
    rates = [np.mean(run.success) for run in whole.runs if "knob" in run.condition.environment]
    assert found.arm("whole").mean.value == pytest.approx(np.mean(rates))
    assert any("kitchen_light" in note and "Left out" in note for note in found.notes)


def test_conditions_that_are_asked_for_leave_an_arm_without_a_mean_instead():
    whole, part = random_arm("whole", 0.6), random_arm("part", 0.5, where=["kitchen_knob"])
    other = random_arm("other", 0.5)
    found = compare_arms([part, whole, other], "part", conditions=[*whole_conditions(whole)])
    assert found.arms[-1].name == "part"
    assert found.arms[-1].mean is None
    assert found.arms[-1].letters == ""
    assert [(one.first, one.second) for one in found.pairs] == [("whole", "other")]
    assert any(note.startswith("part has no run seed") for note in found.notes)
    assert "part" in found.to_markdown()


def whole_conditions(arm):
    return {run.condition for run in arm.runs}


def test_run_seeds_that_are_not_whole_or_not_shared_are_left_out_and_named():
    full = random_arm("full", 0.6, seeds=range(4))
    ragged = Arm("ragged", tuple(random_arm("ragged", 0.5, seeds=range(3)).runs)[:-1])
    found = compare_arms([full, ragged])
    assert found.arm("ragged").run_seeds == (0, 1)
    assert found.pairs[0].success.run_seeds == 2
    assert any(
        note.startswith("ragged: left out") and "run seed 2." in note for note in found.notes
    )
    assert any("without run seeds 2, 3, which" in note for note in found.notes)


def test_arms_of_fewer_episodes_are_compared_on_those_that_they_share():
    long = random_arm("long", 0.6, seeds=[0, 1])
    short = Arm(
        "short",
        tuple(
            replace(run, episode_seeds=run.episode_seeds[:30], success=run.success[:30])
            for run in random_arm("short", 0.5, seeds=[0, 1]).runs
        ),
    )
    found = compare_arms([long, short])
    assert found.pairs[0].success.episodes == 2 * 2 * 30
    assert any("the 120 episodes that they share, without 40" in note for note in found.notes)


def totals(arm, name):
    return Arm(name, tuple(replace(run, episode_seeds=None) for run in arm.runs))


def test_totals_alone_are_compared_unpaired_and_marked(arms):
    found = compare_arms([arms[0], totals(arms[1], "old")], reference="poor")
    (one,) = found.pairs
    assert not one.paired
    assert not found.arm("old").paired
    assert one.progress is None
    assert any("Unpaired, as two separate experiments: old and poor" in n for n in found.notes)
    assert "(unpaired)" in found.to_markdown()
    paired = compare_arms(arms[:2]).pairs[0]
    assert one.success.value == pytest.approx(paired.success.value)
    assert one.success.standard_error > paired.success.standard_error


def test_outcomes_that_do_not_pair_are_refused_unless_asked():
    here, there = random_arm("here", 0.5, seeds=[0, 1]), random_arm("there", 0.5, seeds=[2, 3])
    with pytest.raises(PairingError, match=r"share a run seed.*allow_unpaired=true"):
        compare_arms([here, there])
    found = compare_arms([here, there], allow_unpaired=True)
    assert not found.pairs[0].paired
    with pytest.raises(PairingError, match=r"all arms have met, but here has .*kitchen_knob.*moon"):
        compare_arms([here, random_arm("there", 0.5, where=["moon"])], allow_unpaired=True)


def test_runs_of_another_protocol_are_refused_unless_asked(arms):
    few, standard = (
        Arm(name, tuple(replace(run, provenance=Provenance(name, name)) for run in arm.runs))
        for name, arm in zip(("few", "standard"), arms[:2], strict=True)
    )
    with pytest.raises(MixedRunsError, match=r"few.*standard"):
        compare_arms([few, standard])
    found = compare_arms([few, standard], allow_mixed=True)
    assert len(found.provenance) == 2
    assert any("protocol few" in note and "mixed" in note for note in found.notes)


def test_runs_in_another_scene_are_refused_unless_asked(arms):
    def in_scene(arm, scene):
        return Arm(arm.name, tuple(replace(run, scene=scene) for run in arm.runs))

    changed = [in_scene(arms[0], "1a"), in_scene(arms[1], "2b"), arms[2]]
    with pytest.raises(MixedRunsError, match=r"1a in poor .* and 2b in good .* kitchen_knob"):
        compare_arms(changed)
    found = compare_arms(changed, allow_mixed=True)
    assert sum("Scenes are mixed" in note for note in found.notes) == 2
    assert compare_arms([in_scene(arms[0], "1a"), arms[2]]).notes == ()


def test_the_fingerprint_is_of_what_was_measured_and_not_of_what_came_out(arms, comparison):
    assert comparison.fingerprint == compare_arms(arms[:2]).fingerprint
    others = [
        [random_arm("poor", 0.3, seeds=range(5)), random_arm("good", 0.7, seeds=range(5))],
        [random_arm("poor", 0.3, episodes=41), random_arm("good", 0.7, episodes=41)],
        [random_arm("poor", 0.3, where=["a"]), random_arm("good", 0.7, where=["a"])],
        [
            Arm(a.name, tuple(replace(r, provenance=Provenance("few")) for r in a.runs))
            for a in arms
        ],
    ]
    found = {compare_arms(other).fingerprint for other in others}
    assert len({comparison.fingerprint, *found}) == 5


def test_looks_are_compared_on_the_same_episode_seeds_when_arms_are_split_by_them():
    varied = random_arm("egodtm", 0.8)
    shifted = [
        replace(run, condition=condition(run.condition.environment, "shifted"),
                success=run.success & (np.arange(40) % 4 > 0))
        for run in varied.runs
    ]  # fmt: skip
    both = make_arm("egodtm", [*varied.runs, *shifted])
    found = compare_arms(split_arms([both, random_arm("other", 0.5)], "look"))
    assert {arm.name for arm in found.arms} == {
        "egodtm (varied)",
        "egodtm (shifted)",
        "other (varied)",
    }
    loss = found.difference("egodtm (shifted)", "egodtm (varied)")
    assert loss.paired
    assert loss.verdict == "behind"


def test_the_json_is_plain_and_holds_everything(comparison):
    plain = json.loads(json.dumps(comparison.to_json(), allow_nan=False))
    assert plain["version"] == 1
    assert [arm["name"] for arm in plain["arms"]] == ["better", "good", "poor"]
    assert plain["arms"][0]["cells"][1]["episodes"] == 240
    assert plain["pairs"][0]["verdict"] == "undecided"
    assert plain["conditions"][0] == {
        "environment": "kitchen_knob", "look": "varied", "resets": "default", "compared": True,
    }  # fmt: skip


def test_a_single_arm_has_a_row_and_no_pairs(arms):
    found = compare_arms(arms[:1], reference="poor")
    assert found.pairs == ()
    assert found.advice == ""
    assert "letters" not in found.to_markdown()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"reference": "pooor"}, UnknownNameError, "Did you mean 'poor'"),
        ({"margin": 3}, ConfigurationError, r"3 points is 0\.03"),
        ({"margin": 0}, ConfigurationError, "margin"),
        ({"confidence": 95}, ConfigurationError, "95"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused(arms, options, error, message):
    with pytest.raises(error, match=message):
        compare_arms(arms, **options)


def test_arms_need_names_of_their_own(arms):
    for wrong in ([], [arms[0], arms[0]]):
        with pytest.raises(ConfigurationError, match="different names"):
            compare_arms(wrong)
