import mujoco
import numpy as np
import pytest

from envs.kitchen import KitchenEnv
from envs.kitchen.inverse_kinematics import (
    STEP_LIMIT,
    DifferentialIK,
    HandPose,
    PostureSearch,
    rotation_vector,
)

WEIGHTS = np.full(3, 0.2)


@pytest.fixture
def env():
    env = KitchenEnv("microwave", cameras=())
    env.reset(seed=5)
    return env


def hand(data, ik):
    return data.site_xpos[ik.site].copy(), data.site_xmat[ik.site].reshape(3, 3).copy()


def follow(env, ik, pose, steps):
    data = mujoco.MjData(env.model)
    data.qpos[:] = env.data.qpos
    for _ in range(steps):
        mujoco.mj_kinematics(env.model, data)
        mujoco.mj_comPos(env.model, data)
        offset, turn = ik.pose_error(data, pose)
        data.qpos[ik.qpos] += ik.displacement(data, pose, 0.5 * offset, 0.5 * turn)
    mujoco.mj_kinematics(env.model, data)
    return data


def test_rotation_vector_is_axis_times_angle():
    angle = 0.4
    c, s = np.cos(angle), np.sin(angle)
    about_z = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(rotation_vector(about_z), [0.0, 0.0, angle], atol=1e-12)
    np.testing.assert_allclose(rotation_vector(np.eye(3)), np.zeros(3), atol=1e-12)


def test_following_the_steps_reaches_a_pose_nearby(env):
    ik = DifferentialIK(env.model)
    position, rotation = hand(env.data, ik)
    pose = HandPose(position + np.array([0.1, 0.05, 0.08]), rotation, WEIGHTS)
    reached = follow(env, ik, pose, 60)
    offset, turn = ik.pose_error(reached, pose)
    assert np.linalg.norm(offset) < 0.01
    assert np.linalg.norm(turn) < 0.1


def test_a_step_stays_within_the_motors_and_the_joints(env):
    ik = DifferentialIK(env.model)
    position, rotation = hand(env.data, ik)
    pose = HandPose(position + np.array([3.0, 3.0, -3.0]), rotation, WEIGHTS)
    step = ik.displacement(env.data, pose, pose.position - position, np.zeros(3))
    assert (np.abs(step) <= STEP_LIMIT + 1e-9).all()
    assert np.isclose(np.abs(step), STEP_LIMIT).any()
    data = follow(env, ik, pose, 80)
    outside = np.maximum(ik.lower - data.qpos[ik.qpos], data.qpos[ik.qpos] - ik.upper)
    assert outside.max() < 1e-6


def test_a_joint_beyond_its_range_is_not_pushed_further(env):
    ik = DifferentialIK(env.model)
    # FK1's rest posture has the second joint at the edge of its range.
    env.data.qpos[ik.qpos[1]] = ik.lower[1] - 0.02
    mujoco.mj_forward(env.model, env.data)
    position, rotation = hand(env.data, ik)
    pose = HandPose(position, rotation, WEIGHTS)
    for direction in np.vstack([np.eye(3), -np.eye(3)]):
        assert ik.displacement(env.data, pose, 0.1 * direction, np.zeros(3))[1] >= -1e-9


def test_no_weight_leaves_the_rotation_free(env):
    ik = DifferentialIK(env.model)
    position, rotation = hand(env.data, ik)
    turn = np.array([0.0, 0.0, 0.2])
    held = HandPose(position, rotation, WEIGHTS)
    free = HandPose(position, rotation, np.zeros(3))
    assert np.abs(ik.displacement(env.data, held, np.zeros(3), turn)).max() > 0.02
    assert np.abs(ik.displacement(env.data, free, np.zeros(3), turn)).max() < 0.02


def test_the_search_finds_where_the_hand_is_and_not_what_is_out_of_reach(env):
    search = PostureSearch(env.model)
    ik = DifferentialIK(env.model)
    position, rotation = hand(env.data, ik)
    options = {"generator": np.random.default_rng(0), "starts": 3}
    assert search.reaches(position, rotation[:, 2], 0.01, 0.5, **options)
    far = position + np.array([0.0, 1.5, 0.0])
    assert not search.reaches(far, rotation[:, 2], 0.01, np.pi, **options)
