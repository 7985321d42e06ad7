"""What is Meta-World's own; the contract is tried in tests/envs/test_contract.py."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

import envs.metaworld  # noqa: F401
from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.learning.cloning_run import TrainBCConfig, default_store_path
from egodtm_robot.learning.default_run import default_run_dir
from envs.metaworld.env import MetaWorldEnv
from envs.metaworld.sawyer import INSTALL_COMMAND, VERSION, TexturedModel
from envs.metaworld.tasks import METAWORLD_TASKS
from envs.mujoco_models import model_hash
from envs.registry import environment_config, read_environment

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", autouse=True)
def package() -> None:
    if os.environ.get("CI", "").lower() in ("1", "true"):
        import metaworld  # noqa: F401  # there a skipped check would pass unseen
    else:
        pytest.importorskip("metaworld", reason=f"no package metaworld; {INSTALL_COMMAND}")


@pytest.fixture(params=METAWORLD_TASKS)
def env(request: pytest.FixtureRequest) -> Iterator[MetaWorldEnv]:
    with closing(MetaWorldEnv(request.param, cameras=())) as environment:
        yield environment


def test_the_tested_version_is_the_one_that_is_pinned_and_installed() -> None:
    from importlib.metadata import version

    assert version("metaworld") == VERSION
    assert f"metaworld=={VERSION}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_the_hand_hangs_on_the_weld_that_metaworld_asks_for(env: MetaWorldEnv) -> None:
    (weld,) = np.flatnonzero(env.model.eq_type == mujoco.mjtEq.mjEQ_WELD)
    np.testing.assert_array_equal(env.model.eq_data[weld, :11], [0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5])
    env.reset(seed=0)
    height = env.observe()["proprioception"][2]
    for _ in range(5):
        env.step(np.array([0.0, 0.0, 1.0, -1.0]))
    assert env.observe()["proprioception"][2] > height + 0.01


def test_an_episode_ends_at_the_first_step_that_metaworld_calls_a_success(
    env: MetaWorldEnv,
) -> None:
    expert = env.demonstrator()
    for seed in (0, 1):
        env.reset(seed=seed)
        done = False
        while not done:
            action = expert.act()
            assert action is not None
            _, reward, terminated, truncated, info = env.step(action)
            theirs = env._sawyer.evaluate_state(env._sawyer._last_stable_obs, action)
            assert reward == pytest.approx(theirs[0])
            assert terminated == info["solved"] == bool(theirs[1]["success"])
            # Nothing is left to do exactly where the task is solved.
            assert (env.task.distance(env._sawyer) == 0) == info["solved"]
            done = terminated or truncated
        assert info["success"]
        assert info["solved_steps"] == 1


def test_a_reset_begins_from_the_same_model_wherever_the_last_episode_left_things(
    env: MetaWorldEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    reset = env._sawyer.reset

    def spy() -> None:
        begun.append((env.model.body_pos.copy(), env.model.site_pos.copy()))
        reset()

    monkeypatch.setattr(env._sawyer, "reset", spy)
    for seed in (5, 6, 7):
        env.reset(seed=seed)
    nominal = TexturedModel(env._sawyer.fullpath)()
    for bodies, sites in begun:
        np.testing.assert_array_equal(bodies, nominal.body_pos)
        np.testing.assert_array_equal(sites, nominal.site_pos)


def test_what_is_drawn_moves_as_what_is_simulated(env: MetaWorldEnv) -> None:
    textured = TexturedModel(env._sawyer.fullpath)()
    assert model_hash(textured) == env.model_hash
    assert textured.tex_data.size > 100 * env.model.tex_data.size


def test_observations_are_cortexbenchs(env: MetaWorldEnv) -> None:
    observation, _ = env.reset(seed=3)
    hand = env.data.body("hand").xpos
    np.testing.assert_allclose(observation["proprioception"][:3], hand, atol=1e-6)
    assert 0.0 <= observation["proprioception"][3] <= 1.0
    np.testing.assert_allclose(observation["privileged"][14:], env.reset_record()["goal"])
    assert env.horizon == 500
    assert env.control_dt == pytest.approx(0.0125)


def test_gymnasium_makes_them() -> None:
    made = gymnasium.make("EgoDTMMetaWorld/DrawerOpen-v0", cameras=(), horizon=2)
    assert made.unwrapped.describe().name == "metaworld_drawer_open"  # type: ignore[attr-defined]
    made.reset(seed=0)
    made.step(np.zeros(4, np.float32))
    assert made.step(np.zeros(4, np.float32))[3]
    made.close()


def test_commands_take_it_without_the_kitchens_options() -> None:
    config = compose(TrainBCConfig, "train_bc", ["env=metaworld_hammer", "protocol=standard"])
    environment = read_environment(config.env)
    assert environment.name == "metaworld_hammer"
    # A protocol that draws looks leaves an environment with one look alone.
    assert "visual" not in config.env
    assert str(default_run_dir(config, "pixels")) == "runs/metaworld_hammer/pixels/standard_seed0"
    path = default_store_path(environment, config.demos)
    assert path.name == "metaworld_hammer-default-fixed-noise0.05-seed0"
    with pytest.raises(ConfigurationError, match=r"Unknown key 'env\.visual'"):
        compose(TrainBCConfig, "train_bc", ["env=metaworld_hammer", "env.visual=varied"])


def test_the_configuration_may_add_a_free_camera() -> None:
    camera = {"name": "front", "position": [0, -0.5, 0.6], "look_at": [0, 0.6, 0.1]}
    config = environment_config("metaworld_drawer_open", cameras=["side", camera])
    with closing(MetaWorldEnv("drawer_open", config.cameras, resolution=24)) as environment:
        observation, _ = environment.reset(seed=0)
        assert observation["rgb"]["front"].std() > 10
        plain = MetaWorldEnv("drawer_open", cameras=())
        assert environment.model_hash == plain.model_hash
        plain.close()
