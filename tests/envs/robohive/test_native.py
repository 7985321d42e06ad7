"""RoboHive's own FK1 environments: the package itself, under our contract."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.core.errors import UnknownNameError
from envs.contract import NoDemonstratorError
from envs.kitchen import KITCHEN_CAMERAS
from envs.registry import environment_config, make_environment
from envs.robohive import RoboHiveKitchenEnv
from envs.robohive.native import package
from envs.robohive.native.env import RoboHiveFK1Env
from envs.robohive.native.mirror import KitchenMirror
from envs.robohive.native.package import (
    INSTALL_COMMAND,
    VERSION,
    RoboHiveNotFoundError,
    RoboHiveVersionError,
)
from envs.robohive.native.tasks import FK1_TASKS
from envs.robohive.simhive import PATH_VARIABLE

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def assets(
    robohive_package: None, sample: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATH_VARIABLE, str(sample("simhive")))


@pytest.fixture
def env(assets: None) -> Iterator[RoboHiveFK1Env]:
    with closing(RoboHiveFK1Env("microwave", cameras=())) as environment:
        yield environment


def test_it_is_robohives_own_class(env: RoboHiveFK1Env) -> None:
    assert type(env.kitchen).__module__ == "robohive.envs.multi_task.common.franka_kitchen_v2"
    assert env.kitchen.id == "FK1_MicroOpenRandom_v2d-v4"
    assert env.horizon == env.kitchen.horizon == 50
    assert env.control_dt == pytest.approx(0.08)


def test_what_it_does_is_what_robohive_does(env: RoboHiveFK1Env) -> None:
    """Reset, step, reward and success of the adapter against calls of the class itself."""
    theirs = package.make_kitchen("FK1_MicroOpenRandom_v2d-v4", env.model)
    observation, _ = env.reset(seed=5)
    theirs.seed(5)
    theirs.reset()
    np.testing.assert_array_equal(env.data.qpos, theirs.sim.data.qpos)
    np.testing.assert_array_equal(env.model.body("chef").pos, theirs.sim.model.ptr.body("chef").pos)
    assert observation["proprioception"].shape == (24,)
    generator = np.random.default_rng(0)
    for action in generator.uniform(-0.5, 0.5, (5, 9)):
        observation, reward, _, _, info = env.step(action)
        _, their_reward, _, _, their_info = theirs.step(action)
        np.testing.assert_array_equal(env.data.qpos, theirs.sim.data.qpos)
        assert reward == their_reward
        assert info["solved"] == their_info["solved"]
        proprioception = theirs.get_proprioception()[1]
        np.testing.assert_allclose(observation["proprioception"], proprioception, rtol=1e-6)


def test_a_state_injected_as_solved_is_solved_and_half_the_way_is_half_the_progress(
    env: RoboHiveFK1Env,
) -> None:
    env.reset(seed=1)
    door = env.model.joint("micro0joint").qposadr[0]
    near = env.kitchen.obj["dof_proximity"][8]
    for angle, solved, progress in (
        (-1.25, True, 1.0),
        (-1.25 + 0.9 * near, True, 1.0),
        (-1.25 + 1.1 * near, False, 0.9),
        (-(1.25 - near) / 2, False, 0.5),
    ):
        env.data.qpos[door] = angle
        assert env.is_solved() is solved
        assert env.progress() == pytest.approx(progress, abs=0.1)
    # RoboHive also wants the kettle upright.
    env.data.qpos[door] = -1.25
    env.data.qpos[env.model.joint("kettle0:Rz").qposadr[0]] = 0.3
    assert not env.is_solved()


def test_an_episode_lasts_to_its_horizon_however_often_it_is_solved(assets: None) -> None:
    with closing(RoboHiveFK1Env("light", cameras=(), horizon=12)) as environment:
        environment.reset(seed=0)
        switch = environment.model.joint("lightswitch_joint").qposadr[0]
        ends = []
        for _ in range(12):
            environment.data.qpos[switch] = -0.7
            *_, terminated, truncated, info = environment.step(np.zeros(9))
            ends.append((terminated, truncated))
    assert info["solved_steps"] > 5
    assert info["success"]
    assert ends == [(False, False)] * 11 + [(False, True)]


def test_the_fixed_variant_begins_alike(assets: None) -> None:
    with closing(RoboHiveFK1Env("knob", variant="fixed", cameras=())) as environment:
        environment.reset(seed=0)
        first = environment.simulator_state(), environment.reset_record()
        environment.reset(seed=1)
        np.testing.assert_array_equal(environment.simulator_state(), first[0])
        assert not first[1]["displacement"].any()
        assert environment.kitchen.id == "FK1_Knob1OnFixed-v4"


def test_without_what_robohive_changes_our_scene_moves_as_its_own(env: RoboHiveFK1Env) -> None:
    """One state, one sequence of actions: with the two causes switched off, to 1e-6."""
    ours = RoboHiveKitchenEnv("microwave", randomization="fk1", cameras=())
    mirror = KitchenMirror(env, ours)
    ours.reset(seed=0)
    joints = [env.model.joint(f"panda0_joint{index}").qposadr[0] for index in range(1, 8)]
    actions = np.random.default_rng(3).uniform(-0.25, 0.25, (10, 9))
    apart = {}
    for alike in (False, True):
        if alike:
            env.kitchen.robot.sensor2sim = lambda sensor, sim: sim.forward()
            env.model.dof_armature[-6:] = 0.0
        env.reset(seed=950006)
        mirror.update()
        for action in actions:
            env.step(action)
            ours.step(action)
        apart[alike] = np.abs(env.data.qpos[joints] - ours.data.qpos[ours.robot_qpos[:7]]).max()
    assert apart[True] < 1e-6
    assert apart[False] < 0.3


@pytest.mark.parametrize("task", ["light", "slide_cabinet"])
def test_an_experts_actions_do_the_task_in_both(assets: None, task: str) -> None:
    """Recorded in RoboHive without its write-back, replayed open loop: through all contacts."""
    with closing(RoboHiveFK1Env(task, cameras=())) as env:
        env.kitchen.robot.sensor2sim = lambda sensor, sim: sim.forward()
        ours = RoboHiveKitchenEnv(task, randomization="fk1_v4", cameras=())
        mirror = KitchenMirror(env, ours)
        expert = env.demonstrator()
        ours.reset(seed=0)
        env.reset(seed=950001)
        mirror.update()
        for _ in range(env.horizon):
            action = expert.act()
            assert action is not None
            info, replayed = env.step(action)[-1], ours.step(action)[-1]
            assert info["solved"] == replayed["solved"]
            np.testing.assert_allclose(
                env.kitchen.get_obs_dict(env.kitchen.sim)["objs_jnt"][:9],
                ours.data.qpos[ours.kitchen_qpos],
                atol=1e-6,
            )
        assert info["success"]
        assert replayed["success"]


def test_every_task_is_one_that_robohive_registers(robohive_package: None) -> None:
    import gymnasium

    for task in FK1_TASKS.values():
        for variant in ("random", "fixed"):
            assert task.environment(variant) in gymnasium.registry  # type: ignore[arg-type]
        assert environment_config(f"robohive_fk1_{task.name}").task == task.name


def test_a_task_without_an_expert_says_so(assets: None) -> None:
    with closing(RoboHiveFK1Env("kettle_back", cameras=())) as environment:
        environment.reset(seed=0)
        assert environment.progress() < 0.2
        with pytest.raises(NoDemonstratorError, match=r"demos\.path"):
            environment.demonstrator()
    with pytest.raises(UnknownNameError, match="microwave"):
        environment_config("robohive_fk1_light", task="microwav")


def test_the_tested_version_is_the_one_that_is_pinned() -> None:
    assert f"robohive=={VERSION}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_naming_an_environment_imports_neither_robohive_nor_dm_control() -> None:
    script = (
        "import sys; from envs.registry import environment_config as c;"
        "c('robohive_fk1_light');"
        "print([m for m in ('robohive', 'dm_control', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not imported it yet."""
    monkeypatch.setattr(package, "import_robohive", package.import_robohive.__wrapped__)


@pytest.mark.usefixtures("fresh")
def test_without_the_package_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> str:
        raise package.PackageNotFoundError(name)

    monkeypatch.setattr(package, "version", absent)
    with pytest.raises(RoboHiveNotFoundError, match=INSTALL_COMMAND):
        package.import_robohive()
    monkeypatch.setattr(package, "version", lambda name: "0.6.0")
    with pytest.raises(RoboHiveNotFoundError, match=r"robohive 0\.7\.0.* got 0\.6\.0"):
        package.import_robohive()


@pytest.mark.usefixtures("fresh", "robohive_package")
def test_a_mujoco_that_dm_control_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package.mujoco, "__version__", "3.8.0")
    with pytest.raises(RoboHiveVersionError, match=r"MuJoCo 3\.8\.0.*mujoco>=3\.17"):
        package.import_robohive()


@pytest.mark.usefixtures("robohive_package")
def test_the_installed_package_and_the_environment_are_left_as_they_are() -> None:
    spec = importlib.util.find_spec("robohive")
    assert spec is not None
    assert spec.origin is not None
    base = Path(spec.origin).parent / "envs/multi_task/multi_task_base_v1.py"
    assert "np.product" in base.read_text()
    assert not hasattr(np, "product")
    assert np.get_printoptions()["precision"] == 8
    assert "GIT_PYTHON_REFRESH" not in os.environ
    assert os.environ.get("MUJOCO_GL") != "disable"
    # It would end the display that we draw on.
    assert "dm_control._render.pyopengl.egl_renderer" not in sys.modules


def test_fk1s_wrist_camera_is_the_kitchens_wrist_fk1(env: RoboHiveFK1Env) -> None:
    ours, theirs = KITCHEN_CAMERAS["wrist_fk1"], env.own_cameras["Franka_wrist_cam"]
    assert replace(theirs, name=ours.name) == ours


def test_it_is_made_from_its_configuration(assets: None) -> None:
    config = environment_config("robohive_fk1_light", cameras=["left_cam"], resolution=24)
    with closing(make_environment(config)) as environment:
        observation, _ = environment.reset(seed=0)
        assert observation["rgb"]["left_cam"].shape == (24, 24, 3)
        assert environment.describe().name == "robohive_fk1_light"
