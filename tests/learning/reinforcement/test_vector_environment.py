import sys
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from egodtm_robot.core.errors import ConfigurationError, ObservationError
from egodtm_robot.core.seeding import episode_seeds
from egodtm_robot.encoders.observation_wrapper import FeatureObservation
from egodtm_robot.evaluation.environment_pool import EnvironmentPool
from egodtm_robot.learning.reinforcement.reward import RewardConfig, step_rewards
from egodtm_robot.learning.reinforcement.vector_environment import FeatureVecEnv
from policies.spec import FeatureShape, PolicySpec

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_environments import FakeEnvironment

SPEC = PolicySpec(3, 2, {"left": FeatureShape(1, 2)})


class CornerEncoder:
    """The first pixels of the last two images; counts its calls."""

    source, history = "rgb", 2

    def __init__(self):
        self.rows = []

    def encode(self, images):
        assert images.shape[1:] == (2, 8, 8, 3)
        self.rows.append(len(images))
        return images[:, :, 0, 0, 0].astype(np.float32)[:, None]


def make(workers=0, each=3, count=None, seed=4, encoder=None, **reward):
    pool = EnvironmentPool(FakeEnvironment, workers, each)
    return FeatureVecEnv(
        pool, encoder or CornerEncoder(), SPEC, RewardConfig(**reward), 0.9, count, seed
    )


def play(environment, steps=40):
    """Everything that random but repeatable actions lead to, as one list."""
    generator = np.random.default_rng(0)
    found = [environment.reset()]
    for _ in range(steps):
        actions = generator.uniform(-1, 1, (environment.num_envs, 2)).astype(np.float32)
        found.append(environment.step(actions))
    environment.close()
    return found


def test_observations_are_those_of_the_environments_one_by_one():
    played = play(make(count=3))
    generator = np.random.default_rng(0)
    actions = generator.uniform(-1, 1, (40, 3, 2)).astype(np.float32)
    for row in range(3):
        alone = FeatureObservation(FakeEnvironment(), CornerEncoder(), SPEC.features)
        numbers = iter(range(row, 100, 3))
        begin = lambda alone=alone, numbers=numbers: alone.reset(  # noqa: E731
            seed=int(episode_seeds("reinforcement", 4, 1, next(numbers))[0])
        )[0]
        expected = begin()
        for name, array in expected.items():
            np.testing.assert_array_equal(played[0][name][row], array)
        for step in range(40):
            expected, _, terminated, truncated, info = alone.step(actions[step, row])
            observations, _, dones, infos = played[step + 1]
            assert dones[row] == (terminated or truncated)
            assert infos[row]["is_success"] == info["success"]
            if dones[row]:
                assert infos[row]["TimeLimit.truncated"] == (truncated and not terminated)
                for name, array in expected.items():
                    np.testing.assert_array_equal(infos[row]["terminal_observation"][name], array)
                expected = begin()
            for name, array in expected.items():
                np.testing.assert_array_equal(observations[name][row], array)


def test_processes_change_nothing():
    for one, other in zip(play(make(0, 4)), play(make(2, 2)), strict=True):
        np.testing.assert_equal(one, other)


def test_all_environments_are_encoded_in_one_batch():
    encoder = CornerEncoder()
    played = play(make(count=3, encoder=encoder))
    over = [0] + [int(step[2].sum()) for step in played[1:]]
    assert encoder.rows == [3 + ended for ended in over]
    assert max(over) > 0


def test_success_is_paid_once_and_progress_by_its_difference():
    played = play(make(count=3, success=5.0, progress=0.0))
    for _, rewards, _, infos in played[1:]:
        # The fake environment ends with its success.
        np.testing.assert_array_equal(rewards, [5.0 * info["success"] for info in infos])
    before, after = np.array([0.25, 0.5]), np.array([0.5, 0.5])
    rewards = step_rewards(RewardConfig(1.0, 2.0), 0.9, before, after, np.array([False, True]))
    np.testing.assert_allclose(rewards, [2 * (0.45 - 0.25), 1 + 2 * (0.45 - 0.5)], rtol=1e-6)


@pytest.mark.parametrize("settings", [{"success": -1.0}, {"success": 0.0, "progress": 0.0}])
def test_rewards_that_teach_nothing_are_refused(settings):
    with pytest.raises(ConfigurationError, match="reward"):
        RewardConfig(**settings)


def test_evaluate_policy_vec_monitor_and_vec_normalize_take_it_unchanged():
    environment = VecNormalize(VecMonitor(make(count=3)), gamma=0.9)
    model = PPO("MultiInputPolicy", environment, n_steps=16, batch_size=24, n_epochs=1, seed=1)
    model.learn(96)
    assert len(model.ep_info_buffer) > 0
    assert environment.obs_rms["proprioception"].count > 90
    rewards, lengths = evaluate_policy(model, environment, 5, return_episode_rewards=True)
    assert len(rewards) == 5
    assert all(1 <= length < 12 for length in lengths)
    environment.close()


def test_a_seed_begins_its_episodes_anew():
    environment = make(count=2, seed=1)
    first = environment.reset()
    environment.reset()
    assert environment.seed(1)[0] == episode_seeds("reinforcement", 1, 1)[0]
    np.testing.assert_equal(environment.reset(), first)
    environment.close()


def test_what_does_not_fit_is_refused():
    with EnvironmentPool(FakeEnvironment, environments=2) as pool:
        with pytest.raises(ConfigurationError, match="1 to 2 environments"):
            FeatureVecEnv(pool, CornerEncoder(), SPEC, RewardConfig(), 0.9, 3)
        other = PolicySpec(3, 2, {"right": FeatureShape(1, 2)})
        with pytest.raises(ObservationError, match="rgb/right"):
            FeatureVecEnv(pool, CornerEncoder(), other, RewardConfig(), 0.9)
