import numpy as np
import pytest

from egodtm_robot.core.errors import UnknownNameError
from envs.kitchen import KITCHEN_TASKS, KitchenEnv
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
    assert (np.ptp(robot[:, :7], axis=0) > 0.8 * width[:7]).all()
    env.close()


def test_fk1_and_default_move_the_robot_and_r3m_the_kitchen():
    for name in RANDOMIZATIONS:
        env = KitchenEnv("light", randomization=name, cameras=())
        displacement, _, base, kitchen, kettle = resets(env, 8)
        if name == "r3m":
            assert np.ptp(base, axis=0).max() == 0.0
            np.testing.assert_allclose(
                kitchen - kitchen[0], displacement[0] - displacement, atol=1e-12
            )
            np.testing.assert_allclose(kettle - kettle[0], kitchen - kitchen[0], atol=1e-12)
        else:
            assert np.ptp(kitchen, axis=0).max() == 0.0
            assert np.ptp(kettle, axis=0).max() == 0.0
            np.testing.assert_allclose(base - base[0], displacement - displacement[0], atol=1e-12)
        env.close()


def test_r3m_and_default_do_not_start_in_contact():
    for name in ("r3m", "default"):
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


def test_an_unknown_preset_is_refused():
    with pytest.raises(UnknownNameError, match="fk1, r3m, default"):
        KitchenEnv(randomization="fk2", cameras=())
