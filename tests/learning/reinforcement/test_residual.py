import sys
from pathlib import Path

import numpy as np
from stable_baselines3 import PPO

from egodtm_robot.evaluation.environment_pool import EnvironmentPool
from egodtm_robot.evaluation.rollouts import evaluate
from egodtm_robot.learning.dataset import CachedFeatureDataset
from egodtm_robot.learning.reinforcement.agent import Agent
from egodtm_robot.learning.reinforcement.residual import ResidualVecEnv, combined, residual_of
from egodtm_robot.learning.reinforcement.reward import RewardConfig
from egodtm_robot.learning.reinforcement.transitions import actions_of, demonstrated_transitions
from egodtm_robot.learning.reinforcement.vector_environment import FeatureVecEnv
from policies.spec import FeatureShape, PolicySpec

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_environments import FakeEnvironment

SCALE = np.array([0.5, 0.25], np.float32)


class Corner:
    source, history = "rgb", 1

    def encode(self, images):
        return images[:, :, 0, 0, 0].astype(np.float32)[:, None]


class Counting:
    """A policy with memory: its action is the number of steps of the episode, in hundredths."""

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        rows = len(observation["proprioception"])
        steps = np.zeros(rows, np.float32) if state is None else state["steps"]
        steps = np.where(episode_start, 0, steps + 1).astype(np.float32)
        return np.repeat(steps[:, None], 2, axis=1) / 100, {"steps": steps}


def test_corrections_and_actions_are_inverse_within_the_limits():
    base = np.array([[0.2, -0.9]], np.float32)
    correction = np.array([[0.5, -0.2]], np.float32)
    executed = combined(base, correction, SCALE)
    np.testing.assert_allclose(executed, [[0.45, -0.95]], rtol=1e-6)
    np.testing.assert_allclose(residual_of(executed, base, SCALE), correction, rtol=1e-5)
    assert combined(base, -4 * correction, SCALE).min() >= -1
    assert np.abs(residual_of(executed + 9, base, SCALE)).max() == 1


def test_the_frozen_policys_memory_follows_the_episodes():
    pool = EnvironmentPool(FakeEnvironment, environments=3)
    spec = PolicySpec(3, 2, {"left": FeatureShape(1, 1)})
    bottom = FeatureVecEnv(pool, Corner(), spec, RewardConfig(), 0.9)
    environment = ResidualVecEnv(bottom, Counting(), SCALE)
    observation = environment.reset()
    steps = np.zeros(3)
    ended = 0
    for _ in range(40):
        np.testing.assert_allclose(observation["base_action"][:, 0], steps / 100)
        correction = np.full((3, 2), 0.1, np.float32)
        observation, _, dones, infos = environment.step(correction)
        for row in np.flatnonzero(dones):
            last = infos[row]["terminal_observation"]["base_action"]
            np.testing.assert_allclose(last, np.repeat((steps[row] + 1) / 100, 2))
            ended += 1
        executed = bottom.pool.actions[bottom.pool.slot_order]
        np.testing.assert_allclose(executed, (steps / 100)[:, None] + SCALE * correction, rtol=1e-6)
        steps = np.where(dones, 0, steps + 1)
    assert ended > 3
    model = PPO("MultiInputPolicy", environment, n_steps=8, batch_size=24, n_epochs=1)
    outcomes = []
    for environments in (1, 5):
        with EnvironmentPool(FakeEnvironment, environments=environments) as other:
            agent = Agent(model.policy, Counting(), SCALE)
            outcomes.append(evaluate(agent, Corner(), ["left"], other, range(12)).episodes)
    assert outcomes[0] == outcomes[1]
    environment.close()


def test_demonstrations_are_transitions_of_the_correction():
    generator = np.random.default_rng(0)
    offsets = np.array([0, 3, 5])
    dataset = CachedFeatureDataset(
        proprioception=generator.normal(size=(5, 3)).astype(np.float32),
        features={"left": generator.normal(size=(5, 1, 1)).astype(np.float32)},
        actions=generator.uniform(-0.2, 0.2, (5, 2)).astype(np.float32),
        episode_offsets=offsets,
        grids={"left": None},
    )
    np.testing.assert_allclose(actions_of(Counting(), dataset)[:, 0], [0, 0.01, 0.02, 0, 0.01])
    progress = np.array([0.0, 0.5, 0.8, 0.0, 0.1])
    found = demonstrated_transitions(
        dataset, progress, RewardConfig(2.0, 1.0), 0.9, Counting(), SCALE
    )
    assert found.ends.tolist() == [False, False, True, False, True]
    expected = [0.45, 0.72 - 0.5, 2 + 0.9 - 0.8, 0.09, 2 + 0.9 - 0.1]
    np.testing.assert_allclose(found.rewards, expected, rtol=1e-6)
    executed = combined(found.observations["base_action"], found.actions, SCALE)
    np.testing.assert_allclose(executed, dataset.actions, atol=1e-6)
    for row, following in enumerate([1, 2, 2, 4, 4]):
        np.testing.assert_array_equal(
            found.next_observations["features/left"][row], dataset.features["left"][following]
        )
