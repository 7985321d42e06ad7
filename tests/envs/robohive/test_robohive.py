"""RoboHive's FK1 kitchen, where a folder of samples has its assets."""

from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import envs  # noqa: F401
from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import ForeignStoreError, UnknownNameError
from egodtm_robot.demos.collection import collect_demonstrations
from egodtm_robot.demos.drawing import add_images
from egodtm_robot.demos.store import DemonstrationStore
from egodtm_robot.learning.cloning_run import TrainBCConfig, default_store_path
from egodtm_robot.learning.default_run import default_run_dir
from envs.kitchen import KITCHEN_TASKS, KitchenEnv
from envs.kitchen.experts import make_expert
from envs.kitchen.scene import ROBOT_COMMAND_RANGE, ROBOT_JOINTS
from envs.registry import environment_config, read_environment
from envs.robohive import RoboHiveKitchenEnv
from envs.robohive.simhive import PATH_VARIABLE


@pytest.fixture
def assets(sample: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = sample("simhive")
    monkeypatch.setenv(PATH_VARIABLE, str(folder))
    return folder


@pytest.mark.usefixtures("assets")
def test_it_is_used_as_the_other_kitchen():
    theirs = gymnasium.make("EgoDTMRoboHive/Light-v0", cameras=("left",), resolution=24)
    ours = KitchenEnv("light", cameras=("left",), resolution=24)
    assert isinstance(theirs.unwrapped, RoboHiveKitchenEnv)
    assert theirs.observation_space == ours.observation_space
    assert theirs.action_space == ours.action_space
    model = theirs.unwrapped.model
    driven = [model.joint(model.actuator_trnid[index, 0]).name for index in range(model.nu)]
    assert tuple(driven) == ROBOT_JOINTS
    assert np.array_equal(model.actuator_ctrlrange, ROBOT_COMMAND_RANGE)
    assert theirs.unwrapped.model_hash != ours.model_hash
    observation, _ = theirs.reset(seed=3)
    other, _ = ours.reset(seed=3)
    assert theirs.observation_space.contains(observation)
    for name in ("proprioception", "privileged"):
        np.testing.assert_allclose(observation[name], other[name], atol=0.002)
    assert observation["rgb"]["left"].std() > 10
    # Handles are where they are in our kitchen; ours has the slide cabinet's site 2 cm off.
    for task in KITCHEN_TASKS.values():
        for handle in task.handles:
            apart = theirs.unwrapped.data.site(handle).xpos - ours.data.site(handle).xpos
            assert np.linalg.norm(apart) < (0.021 if handle == "slide_site" else 0.002), handle
    theirs.close()
    ours.close()


@pytest.mark.usefixtures("assets")
def test_nothing_moves_before_the_robot_does():
    env = RoboHiveKitchenEnv("microwave", cameras=())
    before = env.reset(seed=0)[0]["privileged"]
    for _ in range(20):
        after = env.step(np.zeros(9))[0]["privileged"]
    # The kettle, which stands a little askew in RoboHive's files, settles by 3 mm.
    np.testing.assert_allclose(after, before, atol=4e-3)


@pytest.mark.usefixtures("assets")
@pytest.mark.parametrize("visual", ["fixed", "shifted"])
def test_states_and_looks_are_restored_to_the_bit(visual):
    env, other = (
        RoboHiveKitchenEnv("knob", visual=visual, cameras=("left",), resolution=24)
        for _ in range(2)
    )
    env.reset(seed=5)
    action = np.full(9, 0.1)
    for _ in range(3):
        env.step(action)
    other.reset(seed=6)
    other.set_state(env.get_state())
    for _ in range(3):
        one, two = env.step(action)[0], other.step(action)[0]
    assert np.array_equal(env.simulator_state(), other.simulator_state())
    assert np.array_equal(one["rgb"]["left"], two["rgb"]["left"])
    env.close()
    other.close()


@pytest.mark.usefixtures("assets")
@pytest.mark.parametrize("task", ["light", "microwave"])
def test_our_experts_act_in_it(task):
    env = RoboHiveKitchenEnv(task, cameras=())
    expert = make_expert(env)
    env.reset(seed=1)
    done = False
    while not done:
        _, _, terminated, truncated, info = env.step(expert.act())
        done = terminated or truncated
    assert info["success"]


@pytest.mark.usefixtures("assets")
def test_demonstrations_know_their_kitchen(tmp_path):
    config = environment_config("robohive_kitchen_light", resolution=24)
    collect_demonstrations(config, tmp_path / "store", 1, noise=0.05, workers=0)
    store = DemonstrationStore.open(tmp_path / "store")
    assert store.attributes.environment == "robohive_kitchen_light"
    # The kitchen is the store's, whatever the configuration says.
    ours = environment_config("franka_kitchen_light", cameras=["right"], resolution=24)
    assert add_images(tmp_path / "store", ours, workers=0) == ["rgb/right"]
    with pytest.raises(ForeignStoreError, match="model_hash"):
        collect_demonstrations(ours, tmp_path / "store", 2, noise=0.05, workers=0)


def test_configurations_name_it():
    folder = resources.files("configs") / "env"
    assert all((folder / f"robohive_kitchen_{task}.yaml").is_file() for task in KITCHEN_TASKS)
    ours = compose(TrainBCConfig, "train_bc", ["env=franka_kitchen_light"])
    theirs = compose(TrainBCConfig, "train_bc", ["env=robohive_kitchen_light"])
    their_env, our_env = read_environment(theirs.env), read_environment(ours.env)
    assert (their_env.name, their_env.task) == ("robohive_kitchen_light", "light")
    assert replace(their_env, _target_=our_env._target_) == our_env
    assert default_run_dir(theirs, "pixels") != default_run_dir(ours, "pixels")
    assert default_run_dir(ours, "pixels").parts[:2] == ("runs", "light")
    paths = [default_store_path(env, ours.demos) for env in (our_env, their_env)]
    assert [path.name for path in paths] == [
        "light-default-fixed-noise0.05-seed0",
        "robohive_kitchen_light-default-fixed-noise0.05-seed0",
    ]
    with pytest.raises(UnknownNameError, match="robohive_kitchen"):
        read_environment({**ours.env, "_kind_": "robohive"})
