import numpy as np
import pytest

from egodtm_robot.comparison.arms import Arm, Condition, RunEpisodes
from egodtm_robot.comparison.differences import PairingError, pair
from egodtm_robot.core.errors import EgoDTMRobotError

KNOB = Condition("knob", "varied", "default")
LIGHT = Condition("light", "varied", "default")


def run(condition=KNOB, seed=0, episodes=(10, 11, 12), success=(True, False, True), **others):
    return RunEpisodes(
        condition,
        seed,
        None if episodes is None else np.array(episodes),
        np.array(success),
        **others,
    )


def arm(*runs, name="ours"):
    return Arm(name, runs)


def test_episodes_are_matched_by_their_seeds_and_not_by_their_place():
    first = arm(run(episodes=(10, 11, 12), success=(True, False, True)))
    second = arm(run(episodes=(11, 12, 13), success=(True, True, False)))
    found = pair(first, second)
    assert found.episode_seeds[KNOB, 0].tolist() == [11, 12]
    assert found.values[KNOB, 0].tolist() == [-1.0, 0.0]


def test_run_seeds_count_if_both_have_them_under_every_shared_condition():
    first = arm(*(run(place, seed) for place in (KNOB, LIGHT) for seed in (2, 0, 1)))
    second = arm(run(LIGHT, 0), run(LIGHT, 2), run(KNOB, 1), run(KNOB, 2))
    found = pair(first, second)
    assert found.run_seeds == (2,)
    assert found.conditions == (KNOB, LIGHT)
    assert set(found.values) == {(KNOB, 2), (LIGHT, 2)}


def test_a_condition_that_one_arm_has_not_met_is_left_out():
    found = pair(arm(run(KNOB), run(LIGHT)), arm(run(LIGHT)))
    assert found.conditions == (LIGHT,)


def test_progress_is_subtracted_as_it_is():
    first = arm(run(progress=np.array([0.5, 0.25, 1.0])))
    second = arm(run(progress=np.array([0.25, 0.5, 1.0])))
    assert pair(first, second, "progress").values[KNOB, 0].tolist() == [0.25, -0.25, 0.0]


def test_the_time_of_an_unsolved_episode_is_the_steps_that_were_taken():
    solved = np.array([30.0, np.nan, 20.0])
    first = arm(run(solved_step=solved, steps=np.array([35, 100, 25])))
    second = arm(run(solved_step=np.array([40.0, 60.0, 20.0]), steps=np.array([45, 65, 25])))
    assert pair(first, second, "time").values[KNOB, 0].tolist() == [-10.0, 40.0, 0.0]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (arm(run(KNOB)), arm(run(LIGHT)), r"knob \(look varied, resets default\).*light"),
        (arm(), arm(run(LIGHT)), "the first has none"),
        (arm(run(seed=0)), arm(run(seed=1)), r"\[0\] and \[1\] under knob"),
        (arm(run()), arm(run(episodes=(20, 21, 22))), "10 to 12 and the second 20 to 22"),
        (arm(run(episodes=None)), arm(run()), "totals alone.*Evaluate the run again"),
        (arm(run()), arm(run(episodes=(10, 10, 12))), "once for run seed 0.*several times"),
    ],
)
def test_arms_that_do_not_pair_are_named(first, second, said):
    with pytest.raises(PairingError, match=said) as caught:
        pair(first, second)
    assert isinstance(caught.value, EgoDTMRobotError)


def test_a_measure_that_results_do_not_hold_is_named_with_its_file(tmp_path):
    lacking = arm(run(source=tmp_path / "outcomes.csv"))
    whole = arm(run(progress=np.zeros(3), solved_step=np.ones(3), steps=np.ones(3, int)))
    for measure in ("progress", "time"):
        with pytest.raises(PairingError, match=f"{measure} of each episode.*outcomes.csv"):
            pair(whole, lacking, measure)
