"""What envs.contract promises, tried on every environment alike."""

import importlib.util
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from egodtm_robot.core.configuration.instantiation import group_names
from egodtm_robot.core.errors import (
    ConfigurationError,
    InvalidActionError,
    InvalidStateError,
    UnknownNameError,
)
from envs.contract import RobotEnvironment
from envs.metaworld.sawyer import INSTALL_COMMAND, MetaWorldNotFoundError
from envs.options import EnvironmentConfig
from envs.registry import environment_config, environment_record, make_environment, read_environment
from envs.robohive.simhive import PATH_VARIABLE

ENVIRONMENTS = [
    "franka_kitchen_light",
    "franka_kitchen_kettle",
    "robohive_kitchen_light",
    "robohive_fk1_light",
    "metaworld_assembly",
    "metaworld_bin_picking",
    "metaworld_button_press_topdown",
    "metaworld_drawer_open",
    "metaworld_hammer",
]
MODALITIES = ("rgb", "depth", "segmentation")


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """An environment's name, where its simulator is there."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param.startswith("metaworld") and not importlib.util.find_spec("metaworld"):
            _absent(f"no package metaworld; {INSTALL_COMMAND}")
        if request.param.startswith("robohive_fk1"):
            request.getfixturevalue("robohive_package")
        if request.param.startswith("robohive"):
            root = Path(__file__).resolve().parents[3] / "shared"
            folder = Path(os.environ.get("EGODTM_SAMPLES") or root).expanduser() / "simhive"
            if not folder.is_dir():
                _absent(f"no assets of RoboHive in {folder}")
            patch.setenv(PATH_VARIABLE, str(folder))
        yield request.param


def _absent(message: str) -> None:
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(message)  # there a skipped check would pass unseen
    pytest.skip(message)


def configure(name: str, **options: Any) -> EnvironmentConfig:
    return environment_config(name, resolution=24, **options)


@pytest.fixture(scope="module")
def config(name: str) -> EnvironmentConfig:
    return configure(name)


@pytest.fixture(scope="module")
def env(config: EnvironmentConfig) -> Iterator[RobotEnvironment]:
    """An environment with images that tests share: a reset makes all of its past irrelevant."""
    with closing(make_environment(config, MODALITIES, "rgb_array")) as environment:
        yield environment


@pytest.fixture(scope="module")
def other(config: EnvironmentConfig) -> Iterator[RobotEnvironment]:
    """Another one of the same."""
    with closing(make_environment(config, MODALITIES)) as environment:
        yield environment


def actions(env: RobotEnvironment, count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.uniform(-0.4, 0.4, (count, *env.action_space.shape)).astype(np.float32)


def flat(observation: dict[str, Any]) -> dict[str, np.ndarray]:
    leaves: dict[str, np.ndarray] = {}
    for key, value in observation.items():
        if isinstance(value, dict):
            leaves.update({f"{key}/{camera}": image for camera, image in value.items()})
        else:
            leaves[key] = value
    return leaves


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert flat(first).keys() == flat(second).keys()
    for key, value in flat(first).items():
        np.testing.assert_array_equal(value, flat(second)[key], err_msg=key)


def test_it_describes_itself(env: RobotEnvironment, name: str, config: EnvironmentConfig) -> None:
    described = env.describe()
    assert described.name == name == config.name
    assert described.task in env.tasks
    assert described.horizon == env.horizon > 0
    assert described.control_rate == pytest.approx(env.metadata["render_fps"])
    assert len(described.model_hash) == 16
    assert described.license
    assert [camera.name for camera in described.cameras] == list(env.observation_space["rgb"])
    assert described.camera_poses.keys() == {camera.name for camera in config.resolved_cameras}
    observation, _ = env.reset(seed=0)
    assert described.privileged_size == len(observation["privileged"])
    assert described.proprioception_size == len(observation["proprioception"])
    assert described.action_size == len(env.noisy_actions)
    assert described.state_size == len(env.simulator_state())
    assert {"randomization": described.randomization, "visual": described.visual} == config.presets
    assert env.noisy_actions.shape == env.action_space.shape
    assert 0 < env.noisy_actions.sum() < len(env.noisy_actions)


@pytest.mark.filterwarnings("ignore:.*Box observation space.*")
@pytest.mark.filterwarnings("ignore:.*alternative render modes.*")
def test_gymnasiums_checker_passes(config: EnvironmentConfig) -> None:
    with closing(make_environment(config, ("rgb",), "rgb_array")) as environment:
        check_env(environment)


def test_a_seed_alone_decides_an_episode(env: RobotEnvironment, other: RobotEnvironment) -> None:
    first = [env.reset(seed=3)[0], *(env.step(action)[0] for action in actions(env, 4))]
    first_record = env.reset_record()
    # The other one comes from the middle of another episode.
    other.reset(seed=8)
    for action in actions(env, 3, seed=1):
        other.step(action)
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    second = [other.reset(seed=3)[0], *(other.step(action)[0] for action in actions(env, 4))]
    for one, two in zip(first, second, strict=True):
        assert_same(one, two)
    np.testing.assert_array_equal(env.simulator_state(), other.simulator_state())
    for key, value in first_record.items():
        np.testing.assert_array_equal(value, other.reset_record()[key], err_msg=key)
    # The global generator is neither used nor moved.
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    different, _ = env.reset(seed=4)
    assert any((flat(different)[key] != flat(first[0])[key]).any() for key in flat(different))


def _states(config: EnvironmentConfig) -> list[np.ndarray]:
    with closing(make_environment(config, modalities=())) as environment:
        environment.reset(seed=17)
        states = [environment.simulator_state()]
        for action in actions(environment, 3):
            environment.step(action)
            states.append(environment.simulator_state())
    return states


@pytest.mark.parametrize("name", ["franka_kitchen_light", "metaworld_drawer_open"], indirect=True)
def test_a_spawned_process_sees_the_same_episode_to_the_bit(config: EnvironmentConfig) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        theirs = pool.apply(_states, (config,))
    for one, two in zip(_states(config), theirs, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_state_in_the_middle_of_an_episode_is_restored_to_the_bit(
    env: RobotEnvironment, other: RobotEnvironment
) -> None:
    env.reset(seed=4)
    for action in actions(env, 6):
        env.step(action)
    state, before = env.get_state(), env.observe()
    future = [env.step(action) for action in actions(env, 5, 1)]
    later = env.reset()[0]
    for resumed in (env, other):
        resumed.reset(seed=99)
        resumed.set_state(state)
        assert_same(resumed.observe(), before)
        for expected, action in zip(future, actions(env, 5, 1), strict=True):
            got = resumed.step(action)
            assert_same(got[0], expected[0])
            assert got[1:] == expected[1:]
        # The next episode, too: the generator belongs to the state.
        assert_same(resumed.reset()[0], later)


def test_a_stored_step_is_drawn_again(env: RobotEnvironment, other: RobotEnvironment) -> None:
    env.reset(seed=5)
    stored = []
    for action in actions(env, 3):
        observation = env.step(action)[0]
        stored.append((env.simulator_state(), env.reset_record(), observation))
    other.reset(seed=6)
    for state, record, observation in stored:
        other.restore(state, record)
        assert_same(other.observe(), observation)
        for camera in env.cameras:
            for modality in MODALITIES:
                image = other.render_camera(camera.name, modality)
                np.testing.assert_array_equal(image, observation[modality][camera.name])


@pytest.mark.parametrize("damage", ["size", "nan", "missing", "shape"])
def test_a_foreign_state_is_refused_and_changes_nothing(env: RobotEnvironment, damage: str) -> None:
    env.reset(seed=0)
    state, record = env.simulator_state(), env.reset_record()
    env.reset(seed=1)
    before = env.simulator_state(), env.reset_record()
    key = next(iter(record))
    if damage == "size":
        state = state[:-1]
    elif damage == "nan":
        state[5] = np.nan
    elif damage == "missing":
        del record[key]
    else:
        record[key] = np.zeros(7)
    with pytest.raises(InvalidStateError, match="Expected"):
        env.restore(state, record)
    np.testing.assert_array_equal(env.simulator_state(), before[0])
    for key, values in env.reset_record().items():
        np.testing.assert_array_equal(values, before[1][key])


def test_every_camera_can_be_drawn_in_every_modality(env: RobotEnvironment) -> None:
    env.reset(seed=0)
    for camera in env.own_cameras:
        images = {modality: env.render_camera(camera, modality) for modality in MODALITIES}
        assert images["rgb"].shape == (24, 24, 3)
        assert images["rgb"].dtype == np.uint8
        assert images["depth"].dtype == np.float32
        assert (images["depth"] > 0).all()
        assert images["segmentation"].dtype == np.int32
        assert images["rgb"].std() > 5, camera
    with pytest.raises(UnknownNameError, match=next(iter(env.own_cameras))):
        env.render_camera("nowhere")
    picture = env.render()
    assert picture.ndim == 3
    assert picture.dtype == np.uint8


def test_own_cameras_stand_where_the_table_says(env: RobotEnvironment) -> None:
    model = env.model  # type: ignore[attr-defined]
    for camera in env.own_cameras.values():
        index = model.camera(camera.name).id
        np.testing.assert_allclose(model.cam_pos[index], camera.position, atol=1e-5)
        turn = np.abs(np.dot(model.cam_quat[index], camera.quaternion))
        assert turn == pytest.approx(np.linalg.norm(camera.quaternion), abs=1e-4)
        assert model.cam_fovy[index] == camera.fovy
        body = model.body(model.cam_bodyid[index]).name
        assert body == (camera.body or "world")


def test_the_demonstrator_solves_the_task_and_progress_tells_how_far_it_is(
    env: RobotEnvironment, config: EnvironmentConfig
) -> None:
    with closing(make_environment(config, modalities=())) as environment:
        expert = environment.demonstrator()
        assert expert.version
        _, info = environment.reset(seed=1)
        expert.reset()
        assert info["progress"] < 0.05
        assert (info["solved"], info["solved_steps"], info["success"]) == (False, 0, False)
        done, solved_steps = False, 0
        while not done:
            action = expert.act()
            assert action is not None
            observation, _, terminated, truncated, info = environment.step(action)
            solved_steps += info["solved"]
            assert environment.observation_space.contains(observation)
            assert 0.0 <= info["progress"] <= 1.0
            assert not info["solved"] or info["progress"] == 1.0
            assert info["solved_steps"] == solved_steps
            assert info["solved"] == environment.is_solved()
            done = terminated or truncated
        assert info["success"]
        assert terminated == environment.ends_on_success  # type: ignore[attr-defined]


def test_the_demonstrator_acts_on_the_present_state_alone(
    env: RobotEnvironment, other: RobotEnvironment
) -> None:
    env.reset(seed=2)
    mine, theirs = env.demonstrator(), other.demonstrator()
    for _ in range(8):
        action = mine.act()
        assert action is not None
        env.step(action)
    other.reset(seed=3)
    other.set_state(env.get_state())
    expected, got = mine.act(), theirs.act()
    assert expected is not None
    assert got is not None
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_bad_actions_are_refused_and_large_ones_count_as_one(
    env: RobotEnvironment, other: RobotEnvironment
) -> None:
    size = len(env.noisy_actions)
    env.reset(seed=0)
    before = env.simulator_state()
    for action in (np.zeros(size - 1), np.zeros((1, size)), np.full(size, np.nan)):
        with pytest.raises(InvalidActionError, match="Expected"):
            env.step(action)
    np.testing.assert_array_equal(env.simulator_state(), before)
    other.reset(seed=0)
    env.step(np.ones(size))
    other.step(np.full(size, 7.0))
    np.testing.assert_array_equal(env.simulator_state(), other.simulator_state())


def test_an_episode_is_truncated_at_the_horizon(name: str) -> None:
    with closing(make_environment(configure(name, horizon=3), modalities=())) as environment:
        environment.reset(seed=0)
        ends = [environment.step(action)[2:4] for action in actions(environment, 3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_its_configuration_is_stored_by_kind_and_read_back(
    name: str, config: EnvironmentConfig
) -> None:
    record = environment_record(config)
    assert record["_kind_"] == config.environment_class.kind
    assert "_target_" not in record
    assert read_environment(record) == config
    assert read_environment(asdict(config)) == config


@pytest.mark.parametrize(
    ("option", "value", "error", "message"),
    [
        ("resolutoin", 64, UnknownNameError, "Did you mean 'resolution'"),
        (
            "resolution",
            "wide",
            ConfigurationError,
            r"env\.resolution to be a whole number, got 'wide'",
        ),
        ("resolution", 4, ConfigurationError, "16 to 1024"),
        ("horizon", 0, ConfigurationError, r"env\.horizon"),
        ("task", "toaster", UnknownNameError, "Unknown task 'toaster'"),
        ("cameras", ["nowhere"], UnknownNameError, "Unknown camera 'nowhere'"),
        ("_target_", "pathlib.Path", ConfigurationError, "RobotEnvironment"),
        ("_target_", "nowhere.Env", ConfigurationError, "import path"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_built(
    name: str, option: str, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        environment_config(name, **{option: value})


def test_each_environment_of_the_configuration_is_of_a_kind_that_is_tried_here() -> None:
    tried = tuple(f"{kind}_" for kind in group_names("env/base"))
    named = set(group_names("env")) - {"custom", "recorded"}
    assert all(name.startswith(tried) for name in named)
    assert all(any(name.startswith(kind) for name in ENVIRONMENTS) for kind in tried)


def test_what_was_stored_before_there_were_kinds_is_read() -> None:
    stored = {"scene": "franka_kitchen", "task": "knob", "visual": "varied", "cameras": ["left"]}
    config = read_environment(stored)
    assert (config.name, config.presets["visual"]) == ("franka_kitchen_knob", "varied")
    with pytest.raises(UnknownNameError, match="kind of environment"):
        read_environment({**stored, "scene": "moon"})


def test_an_option_that_is_null_takes_what_is_offered_where_there_is_such_an_option() -> None:
    null = {**asdict(environment_config("franka_kitchen_light")), "visual": None}
    assert read_environment(null, {"visual": "varied"}).presets["visual"] == "varied"
    assert read_environment(null).presets["visual"] == "fixed"
    chosen = {**null, "visual": "shifted"}
    assert read_environment(chosen, {"visual": "varied"}).presets["visual"] == "shifted"
    drawer = asdict(environment_config("metaworld_drawer_open"))
    assert read_environment(drawer, {"visual": "varied"}).presets["visual"] == "fixed"


def test_without_the_package_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "metaworld", None)
    config = environment_config("metaworld_hammer")
    with pytest.raises(MetaWorldNotFoundError, match="pip install --no-deps metaworld=="):
        make_environment(config)
