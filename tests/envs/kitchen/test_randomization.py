import mujoco
import numpy as np
import pytest

from egodtm_robot.core.errors import UnknownNameError
from envs.kitchen import KITCHEN_TASKS, KitchenEnv
from envs.kitchen.env import _pedestal, hinge_angles
from envs.kitchen.randomization import RANDOMIZATIONS
from envs.kitchen.scene import BASE_BODY, KITCHEN_BODY, ROBOT_COMMAND_RANGE, ROBOT_REST


def resets(env, seeds=60):
    """Displacements (seeds, 3), robot joints (seeds, 9) and the poses of what may move."""
    rows = []
    for seed in range(seeds):
        observation, _ = env.reset(seed=seed)
        rows.append(
            (
                env.reset_record()["displacement"],
                observation["proprioception"],
                env.data.body(BASE_BODY).xpos.copy(),
                env.data.body(KITCHEN_BODY).xpos.copy(),
                env.data.qpos[env.kettle_qpos : env.kettle_qpos + 3].copy(),
            )
        )
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("name", list(RANDOMIZATIONS))
def test_resets_fill_their_box_and_keep_to_it(name):
    env = KitchenEnv("microwave", randomization=name, cameras=())
    displacement, robot, *_ = resets(env)
    preset = env.randomization
    half = np.array(preset.half_extent)
    center = np.array(env.task.base_center if preset.about_task_center else (0.0, 0.0, 0.0))
    assert (np.abs(displacement - center) <= half).all()
    assert (np.ptp(displacement, axis=0) > 1.6 * half).all()
    width = preset.joint_noise * np.ptp(env.robot_range, axis=1)
    clipped = np.clip(ROBOT_REST, ROBOT_COMMAND_RANGE[:, 0], ROBOT_COMMAND_RANGE[:, 1])
    assert (np.abs(robot - clipped) <= width / 2 + 1e-6).all()
    # The second joint's noise is cut off at its lowest start.
    whole = [i for i in range(7) if i != 1 or preset.lowest_joint2 is None]
    assert (np.ptp(robot[:, whole], axis=0) > 0.8 * width[whole]).all()
    env.close()


def test_fk1_and_default_move_the_robot_and_r3m_the_kitchen():
    for name in RANDOMIZATIONS:
        env = KitchenEnv("light", randomization=name, cameras=())
        displacement, _, base, kitchen, kettle = resets(env, 8)
        if env.randomization.moves == "kitchen":
            assert np.ptp(base, axis=0).max() == 0.0
            np.testing.assert_allclose(
                kitchen - kitchen[0], displacement[0] - displacement, atol=1e-12
            )
            along = 0.0 if env.randomization.kettle_stays else kitchen - kitchen[0]
            np.testing.assert_allclose(kettle - kettle[0], along, atol=1e-12)
        else:
            assert np.ptp(kitchen, axis=0).max() == 0.0
            assert np.ptp(kettle, axis=0).max() == 0.0
            np.testing.assert_allclose(base - base[0], displacement - displacement[0], atol=1e-12)
        env.close()


def test_r3m_and_default_do_not_start_in_contact():
    for name in ("r3m", "r3m_v005", "default"):
        env = KitchenEnv("kettle", randomization=name, cameras=())
        for seed in range(40):
            env.reset(seed=seed)
            assert not env._robot_touches_kitchen()
        env.close()


def test_the_kettle_rests_where_the_displaced_kitchen_is():
    env = KitchenEnv("kettle", randomization="r3m", cameras=())
    env.reset(seed=3)
    before = env.data.qpos[env.kettle_qpos : env.kettle_qpos + 3].copy()
    for _ in range(5):
        observation, *_ = env.step(np.zeros(9, np.float32))
    after = env.data.qpos[env.kettle_qpos : env.kettle_qpos + 3]
    assert np.abs(after - before).max() < 0.01
    np.testing.assert_allclose(observation["privileged"][-3:], (-0.269, 0.35, 1.6192), atol=0.01)
    env.close()


def test_horizons_are_the_presets():
    for task in ("knob", "microwave_light"):
        parts = KITCHEN_TASKS[task].parts
        for name in ("fk1", "r3m"):
            assert KitchenEnv(task, randomization=name, cameras=()).horizon == 50 * parts
        assert KitchenEnv(task, cameras=()).horizon == KITCHEN_TASKS[task].horizon
    env = KitchenEnv("knob", cameras=(), horizon=3)
    env.reset(seed=0)
    outcomes = [env.step(np.zeros(9, np.float32))[2:4] for _ in range(3)]
    assert outcomes == [(False, False), (False, False), (False, True)]


def solve(env):
    """Put the joint of the task where it should be."""
    env.data.qpos[env.kitchen_qpos[np.abs(env._goal) > 0]] = env._goal[np.abs(env._goal) > 0]
    mujoco.mj_forward(env.model, env.data)


def test_fk1_v4_starts_and_judges_as_robohive_0_7():
    old, new = (KitchenEnv("light", randomization=n, cameras=()) for n in ("fk1", "fk1_v4"))
    lowest = {env: resets(env, 30)[1][:, 1].min() for env in (old, new)}
    assert lowest[old] < -1.81
    assert lowest[new] == pytest.approx(-1.8, abs=1e-6)
    assert old.model_hash == new.model_hash
    turn = np.empty(4)
    for angle, solved in ((0.25, True), (0.28, False)):
        for axis in np.eye(3):
            for env in (old, new):
                env.reset(seed=0)
                solve(env)
                mujoco.mju_axisAngle2Quat(turn, axis, angle)
                env.data.qpos[env.kettle_qpos + 3 : env.kettle_qpos + 7] = turn
                assert env.is_solved() is (solved or env is old), (angle, axis)


def test_the_kettles_angles_are_those_of_three_hinges():
    for angles in ((0.3, -0.5, 0.8), (-1.0, 0.2, -2.0)):
        quaternion = np.array([1.0, 0.0, 0.0, 0.0])
        for axis, angle in zip(np.eye(3), angles, strict=True):
            turn, product = np.empty(4), np.empty(4)
            mujoco.mju_axisAngle2Quat(turn, axis, angle)
            mujoco.mju_mulQuat(product, quaternion, turn)
            quaternion = product
        np.testing.assert_allclose(hinge_angles(quaternion), angles, atol=1e-12)


def test_r3m_v005_leaves_the_kettle_in_the_world_and_forgives_it_much():
    old, new = (KitchenEnv("light", randomization=n, cameras=()) for n in ("r3m", "r3m_v005"))
    for axis in range(3):
        for shift, solved in ((0.44, True), (0.46, False)):
            for env in (old, new):
                env.reset(seed=5)
                solve(env)
                env.data.qpos[env.kettle_qpos + axis] += shift
                assert env.is_solved() is (solved and env is new)
    new.reset(seed=5)
    solve(new)
    new.data.qpos[new.kettle_qpos + 3 : new.kettle_qpos + 7] = [np.cos(0.5), np.sin(0.5), 0, 0]
    assert not new.is_solved()  # turned by 57 degrees


def test_the_pedestal_of_r3m_v005_does_not_collide():
    env = KitchenEnv("microwave", randomization="r3m_v005", cameras=())
    assert env.model_hash != KitchenEnv("microwave", cameras=()).model_hash
    (pedestal,) = _pedestal(env.model)
    assert env.model.geom_contype[pedestal] == env.model.geom_conaffinity[pedestal] == 0


@pytest.mark.parametrize(("name", "steps"), [("r3m", 6), ("r3m_v005", 12), ("fk1_v4", 12)])
def test_whether_an_episode_ends_when_it_has_succeeded_is_the_presets(name, steps):
    env = KitchenEnv("light", randomization=name, cameras=(), horizon=12)
    env.reset(seed=0)
    taken, done = 0, False
    while not done:
        solve(env)
        *_, terminated, truncated, info = env.step(np.zeros(9))
        taken, done = taken + 1, terminated or truncated
    assert info["success"]
    assert taken == steps
    assert terminated == (name == "r3m")


def test_an_unknown_preset_is_refused():
    with pytest.raises(UnknownNameError, match="fk1, r3m, default, fk1_v4, r3m_v005"):
        KitchenEnv(randomization="fk2", cameras=())
