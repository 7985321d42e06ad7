import numpy as np
import pytest

from envs.kitchen import KITCHEN_TASKS, KitchenEnv
from envs.kitchen.reachability import handle_in_reach


def displaced(task, displacement, randomization="default"):
    env = KitchenEnv(task, cameras=(), randomization=randomization)
    env.reset(seed=1)
    record = {**env.reset_record(), "displacement": np.asarray(displacement, dtype=np.float64)}
    env.restore(env.simulator_state(), record)
    return env


@pytest.mark.parametrize("task", sorted(KITCHEN_TASKS))
def test_the_handle_is_in_reach_from_the_middle_of_the_tasks_box(task):
    assert handle_in_reach(displaced(task, KITCHEN_TASKS[task].base_center))


def test_the_hinged_cabinet_is_too_far_from_the_nominal_base_but_not_from_the_tasks():
    assert not handle_in_reach(displaced("hinge_cabinet", (0.0, 0.0, 0.0)))


def test_it_does_not_matter_whether_base_or_kitchen_moves():
    # A kitchen moved by the opposite is the same scene seen from the robot.
    for displacement in ((-0.05, 0.05, 0.0), (0.0, -1.0, 0.0)):
        base, kitchen = (
            handle_in_reach(displaced("microwave", displacement, preset))
            for preset in ("default", "r3m")
        )
        assert base == kitchen


def test_looking_changes_nothing_and_gives_the_same_answer_again():
    env = KitchenEnv("microwave_light", cameras=())
    env.reset(seed=4)
    before = env.simulator_state()
    first = handle_in_reach(env)
    np.testing.assert_array_equal(env.simulator_state(), before)
    assert handle_in_reach(env) == first
