import multiprocessing

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from egodtm_robot.core.errors import (
    InvalidActionError,
    InvalidStateError,
    RenderingError,
    UnknownNameError,
)
from envs.kitchen import KITCHEN_TASKS, KitchenEnv

EPISODE = {
    "task": "microwave",
    "visual": "varied",
    "cameras": ("left", "wrist"),
    "resolution": 40,
    "modalities": ("rgb", "depth", "segmentation"),
}


def actions(count, seed=0):
    return np.random.default_rng(seed).uniform(-0.4, 0.4, (count, 9)).astype(np.float32)


def flat(observation):
    """Leaves of an observation by path."""
    leaves = {}
    for name, value in observation.items():
        if isinstance(value, dict):
            leaves.update({f"{name}/{key}": leaf for key, leaf in value.items()})
        else:
            leaves[name] = value
    return leaves


def assert_same(first, second):
    first, second = flat(first), flat(second)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def run_episode(seed):
    env = KitchenEnv(**EPISODE)
    observations = [env.reset(seed=seed)[0]]
    observations += [env.step(action)[0] for action in actions(3)]
    env.close()
    return [flat(observation) for observation in observations]


def test_a_spawned_process_sees_the_same_episode_to_the_bit():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        theirs = pool.apply(run_episode, (17,))
    for mine, other in zip(run_episode(17), theirs, strict=True):
        assert_same(mine, other)


def test_the_global_generator_is_neither_used_nor_moved():
    env = KitchenEnv(cameras=())
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = env.reset(seed=3)[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert_same(first, env.reset(seed=3)[0])


def test_state_restores_to_the_bit_in_the_middle_of_an_episode():
    env = KitchenEnv(**EPISODE)
    env.reset(seed=4)
    for action in actions(6):
        env.step(action)
    state = env.get_state()
    before = env.observe()
    future = [env.step(action) for action in actions(8, 1)]
    later = env.reset()[0]
    for other in (env, KitchenEnv(**EPISODE)):
        other.reset(seed=99)
        other.set_state(state)
        assert_same(other.observe(), before)
        for expected, action in zip(future, actions(8, 1), strict=True):
            got = other.step(action)
            assert_same(got[0], expected[0])
            assert got[1:] == expected[1:]
        # The next episode, too: the generator belongs to the state.
        assert_same(other.reset()[0], later)
        other.close()


def test_state_counts_steps_and_solved_steps():
    env = KitchenEnv("slide_cabinet", cameras=(), horizon=4)
    env.reset(seed=0)
    for _ in range(3):
        env.data.joint("slide_cabinet").qpos[0] = 0.44
        env.step(np.zeros(9, np.float32))
    state = env.get_state()
    env.reset(seed=1)
    env.set_state(state)
    env.data.joint("slide_cabinet").qpos[0] = 0.44
    _, _, terminated, truncated, info = env.step(np.zeros(9, np.float32))
    assert info["solved_steps"] == 4
    assert (terminated, truncated) == (False, True)


def test_restore_redraws_a_stored_step():
    env = KitchenEnv(**EPISODE)
    env.reset(seed=4)
    stored = []
    for action in actions(4):
        observation = env.step(action)[0]
        stored.append((env.simulator_state(), env.reset_record(), observation))
    env.reset(seed=5)
    for state, record, observation in stored:
        env.restore(state, record)
        assert_same(env.observe(), observation)
    env.close()


@pytest.mark.filterwarnings("ignore:.*Box observation space.*")
@pytest.mark.parametrize("task", list(KITCHEN_TASKS))
def test_gymnasiums_checker_passes(task):
    env = gymnasium.make(
        f"EgoDTMKitchen/{''.join(part.title() for part in task.split('_'))}-v0",
        cameras=("left",),
        resolution=(24, 32),
        modalities=("rgb", "depth", "segmentation"),
        visual="varied",
        horizon=5,
        render_mode="rgb_array",
    )
    check_env(env.unwrapped)
    env.close()


def test_observations_hold_what_was_asked_for():
    env = KitchenEnv(cameras=("top", "left"), resolution=(16, 24), modalities=("depth",))
    observation, info = env.reset(seed=0)
    assert set(observation) == {"proprioception", "privileged", "depth"}
    assert list(observation["depth"]) == ["top", "left"]
    assert observation["depth"]["top"].shape == (16, 24)
    assert env.observation_space.contains(observation)
    assert observation["privileged"].shape == (15,)
    np.testing.assert_allclose(observation["privileged"][:3], env.reset_record()["displacement"])
    assert info == {"solved": False, "solved_steps": 0, "success": False, "progress": 0.0}
    env.close()
    assert set(KitchenEnv(cameras=()).reset(seed=0)[0]) == {"proprioception", "privileged"}


def test_cameras_that_are_not_observed_can_be_drawn():
    env = KitchenEnv(cameras=(), resolution=16, render_mode="rgb_array", render_resolution=24)
    env.reset(seed=0)
    assert env.render().shape == (24, 24, 3)
    assert env.render_camera("wrist", "segmentation").dtype == np.int32
    env.close()


def test_actions_move_the_arm_at_12_5_hertz():
    env = KitchenEnv(cameras=())
    assert env.control_dt == pytest.approx(0.08)
    env.reset(seed=0)
    time = env.data.time
    before = env.data.qpos[env.robot_qpos].copy()
    action = np.zeros(9, np.float32)
    action[0] = 0.3
    for _ in range(5):
        env.step(action)
    assert env.data.time - time == pytest.approx(0.4)
    assert env.data.qpos[env.robot_qpos][0] - before[0] > 0.2


@pytest.mark.parametrize(
    "action", [np.zeros(8), np.zeros((1, 9)), np.full(9, np.nan), np.full(9, np.inf)]
)
def test_bad_actions_are_refused_and_change_nothing(action):
    env = KitchenEnv(cameras=())
    env.reset(seed=0)
    before = env.simulator_state()
    with pytest.raises(InvalidActionError, match="Expected"):
        env.step(action)
    np.testing.assert_array_equal(env.simulator_state(), before)


def test_actions_beyond_one_count_as_one():
    states = []
    for size in (1.0, 7.0):
        env = KitchenEnv(cameras=())
        env.reset(seed=0)
        env.step(np.full(9, size, np.float32))
        states.append(env.simulator_state())
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize("damage", ["size", "nan", "missing", "displacement"])
def test_a_foreign_state_is_refused_and_changes_nothing(damage):
    env = KitchenEnv(cameras=(), visual="varied")
    env.reset(seed=0)
    state, record = env.simulator_state(), env.reset_record()
    env.reset(seed=1)
    before = env.simulator_state(), env.reset_record()
    if damage == "size":
        state = state[:-1]
    elif damage == "nan":
        state[5] = np.nan
    elif damage == "missing":
        del record["visual_light_shift"]
    else:
        record["displacement"] = np.zeros(2)
    with pytest.raises(InvalidStateError):
        env.restore(state, record)
    np.testing.assert_array_equal(env.simulator_state(), before[0])
    for name, values in env.reset_record().items():
        np.testing.assert_array_equal(values, before[1][name])


def test_unknown_names_are_refused_when_the_environment_is_made():
    for options in (
        {"cameras": ("lefft",)},
        {"modalities": ("normals",)},
        {"quality": "best"},
        {"visual": "vary"},
        {"task": "toaster"},
    ):
        with pytest.raises(UnknownNameError):
            KitchenEnv(**options)


@pytest.mark.parametrize("resolution", [0, (16, -1), (1, 2, 3)])
def test_impossible_resolutions_are_refused(resolution):
    with pytest.raises(RenderingError, match="Expected"):
        KitchenEnv(resolution=resolution)


def test_a_missing_camera_is_named_with_those_there():
    env = KitchenEnv(cameras=("left",), resolution=16)
    env.reset(seed=0)
    with pytest.raises(UnknownNameError, match="wrist"):
        env.render_camera("side")
    env.close()


def test_a_closed_environment_does_not_draw_but_may_be_closed_again():
    env = KitchenEnv(cameras=("left",), resolution=16)
    env.reset(seed=0)
    env.close()
    env.close()
    with pytest.raises(RenderingError, match="closed"):
        env.observe()
