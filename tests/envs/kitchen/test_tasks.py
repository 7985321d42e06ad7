import itertools

import gymnasium
import numpy as np
import pytest

import envs  # noqa: F401  (registers the environments)
from egodtm_robot.core.errors import UnknownNameError
from envs.kitchen import KITCHEN_TASKS, KitchenEnv
from envs.kitchen.tasks import (
    JOINT_TOLERANCE,
    KETTLE_TOLERANCE,
    KITCHEN_JOINTS,
    SUCCESS_STEPS,
    get_task,
)

HOLD = np.zeros(9, np.float32)


def solve(env):
    """Puts all of the kitchen where the task wants it, arm untouched."""
    for name in KITCHEN_JOINTS:
        env.data.joint(name).qpos[0] = env.task.joint_goals.get(name, 0.0)
    kettle = slice(env.kettle_qpos, env.kettle_qpos + 3)
    env.data.qpos[kettle] = np.asarray(env.task.kettle_goal) + env._kettle_shift()


@pytest.fixture(scope="module", params=list(KITCHEN_TASKS))
def env(request):
    env = KitchenEnv(request.param, cameras=())
    yield env
    env.close()


def test_goals_are_within_the_joints_ranges_and_not_met_at_reset(env):
    env.reset(seed=0)
    assert not env.is_solved()
    for name, goal in env.task.joint_goals.items():
        low, high = env.model.joint(name).range
        assert low <= goal <= high
    for handle in env.task.handles:
        assert env.model.site(handle).id >= 0


def test_the_goal_counts_as_solved(env):
    env.reset(seed=0)
    solve(env)
    assert env.is_solved()


def test_each_joint_must_be_within_its_tolerance(env):
    env.reset(seed=0)
    for name in KITCHEN_JOINTS:
        solve(env)
        joint = env.data.joint(name)
        tolerance = JOINT_TOLERANCE * np.ptp(env.model.joint(name).range)
        goal = joint.qpos[0]
        joint.qpos[0] = goal + 0.98 * tolerance
        assert env.is_solved(), name
        for sign in (-1, 1):
            joint.qpos[0] = goal + sign * 1.02 * tolerance
            assert not env.is_solved(), name


def test_a_moved_kettle_is_not_solved(env):
    env.reset(seed=0)
    for axis in range(3):
        for factor, solved in ((0.95, True), (1.05, False), (-1.05, False)):
            solve(env)
            env.data.qpos[env.kettle_qpos + axis] += factor * KETTLE_TOLERANCE
            assert env.is_solved() is solved


def test_success_needs_more_than_five_solved_steps_and_ends_the_episode():
    env = KitchenEnv("slide_cabinet", cameras=())
    env.reset(seed=0)
    for count in range(1, SUCCESS_STEPS + 2):
        solve(env)
        _, reward, terminated, truncated, info = env.step(HOLD)
        assert reward == 1.0
        assert info == {
            "solved": True,
            "solved_steps": count,
            "success": count > SUCCESS_STEPS,
            "progress": 1.0,
        }
        assert terminated is (count > SUCCESS_STEPS)
        assert not truncated
    assert count == 6


def test_solved_steps_need_not_follow_one_another():
    env = KitchenEnv("slide_cabinet", cameras=())
    env.reset(seed=0)
    for _ in range(SUCCESS_STEPS):
        solve(env)
        env.step(HOLD)
    env.data.joint("slide_cabinet").qpos[0] = 0.0
    _, reward, terminated, _, info = env.step(HOLD)
    assert (reward, terminated, info["solved"], info["solved_steps"]) == (0.0, False, False, 5)
    solve(env)
    assert env.step(HOLD)[2]


def test_disturbing_another_joint_is_not_a_success():
    env = KitchenEnv("slide_cabinet", cameras=())
    env.reset(seed=0)
    for _ in range(10):
        solve(env)
        env.data.joint("microwave").qpos[0] = -0.6
        _, reward, terminated, _, _ = env.step(HOLD)
        assert reward == 0.0
        assert not terminated


def test_every_task_is_registered():
    for name in KITCHEN_TASKS:
        title = "".join(part.title() for part in name.split("_"))
        env = gymnasium.make(f"EgoDTMKitchen/{title}-v0", cameras=())
        assert env.unwrapped.task.name == name
        env.close()


def test_an_unknown_task_gives_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'microwave'"):
        get_task("mircowave")


@pytest.mark.parametrize("task", list(KITCHEN_TASKS))
def test_progress_rises_with_every_part_of_the_way(task: str) -> None:
    env = KitchenEnv(task, cameras=())
    env.reset(seed=0)
    rest = env.data.qpos.copy()
    solve(env)
    goal = env.data.qpos.copy()
    shares = []
    for share in np.linspace(0.0, 1.0, 21):
        env.data.qpos[:] = rest + share * (goal - rest)
        shares.append(env.progress())
        assert not env.is_solved() or shares[-1] == 1.0
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert all(later >= earlier for earlier, later in itertools.pairwise(shares))
    assert sum(later > earlier for earlier, later in itertools.pairwise(shares)) >= 10
    # Beyond the start there is no less than nothing.
    env.data.qpos[:] = rest - 0.3 * (goal - rest)
    assert env.progress() == 0.0


def test_half_of_a_task_of_two_parts_is_half_of_the_progress() -> None:
    env = KitchenEnv("microwave_light", cameras=())
    env.reset(seed=0)
    env.data.joint("light").qpos[0] = env.task.joint_goals["light"]
    assert env.progress() == pytest.approx(0.5)
