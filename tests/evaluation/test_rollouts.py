import functools
import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from egodtm_robot.core.errors import (
    ConfigurationError,
    EnvironmentWorkerError,
    ObservationError,
)
from egodtm_robot.encoders import make_encoder
from egodtm_robot.encoders.observation_wrapper import FeatureObservation
from egodtm_robot.evaluation.environment_pool import EnvironmentPool, Reset, Step
from egodtm_robot.evaluation.episode_log import EpisodeLog
from egodtm_robot.evaluation.rollouts import EvaluationResult, FilmRequest, evaluate
from envs.registry import make_environment
from policies.base import make_policy
from policies.mlp import MLPPolicy, MLPPolicyConfig
from policies.pooling import PoolingConfig
from policies.spec import FeatureShape, PolicySpec

# Spawned workers import the environment by its module's name; they inherit this path. A folder of
# its own, since tests/ itself holds folders named like our packages.
sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_environments import FakeEnvironment

from envs.kitchen.config import KitchenConfig

SEEDS = range(100, 117)


class FakeEncoder:
    """A random projection of the last ``history`` images to a 2 x 2 grid of 3 channels."""

    source = "rgb"
    batch_size = 4

    def __init__(self, history=1):
        self.history = history
        generator = np.random.default_rng(0)
        self.weights = generator.normal(size=(history * 192, 12)).astype(np.float32) / 1000
        self.windows = []

    def encode(self, images):
        assert images.dtype == np.uint8
        assert images.shape[1:] == (self.history, 8, 8, 3)
        self.windows.extend(images[:, :, 0, 0, 0].tolist())
        rows = [image.reshape(1, -1).astype(np.float32) @ self.weights for image in images]
        return np.concatenate(rows).reshape(-1, 4, 3)


def make_fake_policy(**settings):
    spec = PolicySpec(3, 2, {"left": FeatureShape(4, 3, (2, 2))})
    policy = make_policy(
        MLPPolicy, MLPPolicyConfig(**settings), spec, torch.Generator().manual_seed(3)
    )
    with torch.no_grad():
        policy.head[-1].weight.mul_(100)  # actions that differ from step to step
    return policy


def run(workers=0, environments=1, policy=None, encoder=None, **options) -> EvaluationResult:
    with EnvironmentPool(FakeEnvironment, workers, environments) as pool:
        return evaluate(
            policy or make_fake_policy(), encoder or FakeEncoder(), ["left"], pool, SEEDS, **options
        )


def no_children():
    deadline = time.monotonic() + 5
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not multiprocessing.active_children()


def test_every_seed_is_run_once_and_results_are_sorted():
    result = run(environments=4)
    assert [episode.seed for episode in result.episodes] == list(SEEDS)
    assert 0 < result.successes < len(SEEDS)
    assert result.success_rate == result.successes / len(SEEDS)
    assert sum(episode.success for episode in result.episodes) == result.successes
    for episode in result.episodes:
        assert (episode.solved_step is None) == (episode.solved_steps == 0)
        assert episode.success == (episode.solved_steps > 1)
        assert 0 < episode.progress <= 1
    for episode in result.episodes:
        assert 1 <= episode.steps < 12
        if episode.success:
            assert episode.solved_step is not None
            assert episode.solved_step < episode.steps


@pytest.mark.parametrize(
    "settings", [{}, {"history": 3, "action_chunk": 2}, {"pooling": PoolingConfig("attention")}]
)
def test_outcomes_do_not_depend_on_the_number_of_environments(settings):
    alone = run(policy=make_fake_policy(**settings), encoder=FakeEncoder(history=2))
    for environments in (3, 7, 20):
        together = run(
            environments=environments,
            policy=make_fake_policy(**settings),
            encoder=FakeEncoder(history=2),
        )
        assert together.episodes == alone.episodes


def test_outcomes_do_not_depend_on_the_number_of_workers():
    policy = make_fake_policy(history=2)
    assert run(2, 3, policy).episodes == run(0, 1, policy).episodes
    assert no_children()


def test_a_pool_serves_several_evaluations():
    policy = make_fake_policy()
    with EnvironmentPool(FakeEnvironment, workers=2, environments=2) as pool:
        first = evaluate(policy, FakeEncoder(), ["left"], pool, SEEDS)
        second = evaluate(policy, FakeEncoder(), ["left"], pool, list(reversed(SEEDS)))
    assert first.episodes == second.episodes


def test_windows_repeat_an_episodes_first_frame_and_never_cross_episodes():
    encoder = FakeEncoder(history=3)
    run(environments=2, encoder=encoder)
    for window in encoder.windows:
        step = window[-1]
        assert window == [max(step - 2, 0), max(step - 1, 0), step]


def test_state_encoders_read_the_privileged_state_and_none_reads_nothing():
    class Oracle:
        source, history = "privileged", 1

        def encode(self, images):
            assert images.shape[1:] == (1, 4)
            assert images.dtype == np.float32
            return images

    class Nothing:
        source, history = "none", 1

        def encode(self, images):
            return np.zeros((len(images), 1, 0), np.float32)

    for encoder, dimension in ((Oracle(), 4), (Nothing(), 0)):
        spec = PolicySpec(3, 2, {"state": FeatureShape(1, dimension)})
        policy = make_policy(MLPPolicy, MLPPolicyConfig(), spec, torch.Generator().manual_seed(0))
        with EnvironmentPool(FakeEnvironment, environments=2) as pool:
            result = evaluate(policy, encoder, ["state"], pool, SEEDS)
        assert len(result.episodes) == len(SEEDS)


def test_progress_counts_every_episode():
    calls = []
    result = run(environments=3, progress=lambda *call: calls.append(call))
    assert [done for done, _, _ in calls] == list(range(1, len(SEEDS) + 1))
    assert calls[-1] == (len(SEEDS), len(SEEDS), result.successes)


class Interrupted(Exception):
    pass


def interrupt_at(count):
    def progress(done, total, successes):
        if done == count:
            raise Interrupted

    return progress


@pytest.mark.parametrize("settings", [{}, {"history": 2, "action_chunk": 3}])
def test_an_interrupted_evaluation_goes_on_with_the_same_results(tmp_path, settings):
    policy = make_fake_policy(**settings)
    whole = run(environments=3, policy=policy)
    finished = EpisodeLog(tmp_path / "episodes", "one")
    with pytest.raises(Interrupted):
        run(environments=3, policy=policy, finished=finished, progress=interrupt_at(7))
    kept = EpisodeLog(tmp_path / "episodes", "one")
    assert len(kept.results) == 7
    seen = []
    # Other episodes share a batch now, which must change none of them.
    again = run(
        environments=5, policy=policy, finished=kept, progress=lambda done, *_: seen.append(done)
    )
    assert again.episodes == whole.episodes
    assert seen == list(range(8, len(SEEDS) + 1))
    assert EpisodeLog(tmp_path / "episodes", "one").results == {e.seed: e for e in whole.episodes}
    done = run(policy=policy, finished=kept)
    assert done.episodes == whole.episodes


def test_finished_episodes_are_run_again_for_their_films(tmp_path):
    log = EpisodeLog(tmp_path / "episodes", "one")
    whole = run(finished=log)
    films = {}
    request = FilmRequest(frozenset({103}), lambda result, *_: films.update({result.seed: result}))
    again = run(finished=EpisodeLog(tmp_path / "episodes", "one"), film=request)
    assert again.episodes == whole.episodes
    assert films == {103: whole.episodes[3]}


@pytest.mark.parametrize("workers", [0, 2])
def test_films_hold_every_frame_of_the_chosen_episodes(workers):
    films = {}

    def sink(result, frames, solved):
        films[result.seed] = (result, frames, solved)

    request = FilmRequest(frozenset({103, 110, 999}), sink)
    filmed = run(workers, 3, film=request)
    assert films.keys() == {103, 110}
    for result, frames, solved in films.values():
        assert frames.shape == (result.steps + 1, 8, 8, 3)
        assert frames.dtype == np.uint8
        assert frames[:, 0, 0, 0].tolist() == list(range(result.steps + 1))
        assert solved.shape == (result.steps + 1,)
        first = int(np.argmax(solved)) if solved.any() else None
        assert first == result.solved_step
    assert filmed.episodes == run().episodes


@pytest.mark.parametrize(
    ("failure", "message"),
    [("raise", "the drawer is stuck"), ("kill", "was killed by SIGKILL"), ("exit", "exit code 7")],
)
def test_a_worker_that_fails_is_named_and_none_is_left_behind(failure, message):
    factory = functools.partial(FakeEnvironment, failure)
    with (
        EnvironmentPool(factory, workers=2, environments=2) as pool,
        pytest.raises(EnvironmentWorkerError, match=message),
    ):
        evaluate(make_fake_policy(), FakeEncoder(), ["left"], pool, range(20))
    assert no_children()


def test_a_worker_that_hangs_is_named_and_ended():
    factory = functools.partial(FakeEnvironment, "hang", failing_seed=0)
    with EnvironmentPool(factory, workers=2) as pool:
        pool.timeout_s = 0.5
        began = time.monotonic()
        with pytest.raises(EnvironmentWorkerError, match="within"):
            evaluate(make_fake_policy(), FakeEncoder(), ["left"], pool, [0])
    assert time.monotonic() - began < 20
    assert no_children()


def test_a_factory_that_fails_in_a_worker_is_named():
    with pytest.raises(EnvironmentWorkerError, match="unexpected keyword"):
        EnvironmentPool(functools.partial(FakeEnvironment, kitchen=1), workers=2)
    assert no_children()


def test_an_error_in_this_process_leaves_the_pool_usable():
    class Broken:
        def predict(self, *_):
            raise ZeroDivisionError

    for workers in (0, 2):
        with EnvironmentPool(FakeEnvironment, workers, 2) as pool:
            with pytest.raises(ZeroDivisionError):
                evaluate(Broken(), FakeEncoder(), ["left"], pool, SEEDS)
            result = evaluate(make_fake_policy(), FakeEncoder(), ["left"], pool, SEEDS)
        assert result.episodes == run().episodes
    factory = functools.partial(FakeEnvironment, "raise", failing_seed=103)
    with EnvironmentPool(factory, 0, 2) as pool:
        with pytest.raises(RuntimeError, match="the drawer is stuck"):
            evaluate(make_fake_policy(), FakeEncoder(), ["left"], pool, SEEDS)
        assert evaluate(make_fake_policy(), FakeEncoder(), ["left"], pool, [200]).episodes


def test_shared_memory_is_returned():
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    run(2, 2)
    after = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    assert not {name for name in after - before if name.startswith("psm_")}


def test_bad_requests_are_refused():
    with pytest.raises(ConfigurationError, match="workers"):
        EnvironmentPool(FakeEnvironment, workers=-1)
    with EnvironmentPool(FakeEnvironment) as pool:
        policy = make_fake_policy()
        with pytest.raises(ConfigurationError, match="distinct"):
            evaluate(policy, FakeEncoder(), ["left"], pool, [1, 1])
        with pytest.raises(ConfigurationError, match="at least one"):
            evaluate(policy, FakeEncoder(), ["left"], pool, [])
        with pytest.raises(ObservationError, match="rgb/top"):
            evaluate(policy, FakeEncoder(), ["top"], pool, [1])


def test_commands_reach_the_slot_they_name():
    with EnvironmentPool(FakeEnvironment, workers=2, environments=2) as pool:
        pool.submit([Reset(slot, seed=slot) for slot in range(4)])
        while pool.outstanding:
            pool.wait()
        for slot in range(4):
            expected, _ = FakeEnvironment().reset(seed=slot)
            np.testing.assert_array_equal(
                pool.observations["privileged"][slot], expected["privileged"]
            )
        pool.actions[3] = 0.5
        pool.submit([Step(3)])
        (report,) = pool.wait()
        assert report.slot == 3
        assert pool.observations["privileged"][:, 3].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("settings", [{}, {"history": 2, "action_chunk": 3}])
def test_evaluate_policy_of_stable_baselines3_runs_a_policy_unchanged(settings):
    policy = make_fake_policy(**settings)
    encoder = FakeEncoder(history=2)
    lengths = {}

    class Seeded(FakeEnvironment):
        """Takes the next of our seeds at each reset."""

        def __init__(self, seeds):
            super().__init__()
            self.seeds = iter(seeds)

        def reset(self, *, seed=None, options=None):
            self.seed_now = next(self.seeds, 0)
            return super().reset(seed=self.seed_now)

        def step(self, action):
            result = super().step(action)
            if result[2] or result[3]:
                lengths[self.seed_now] = self.steps
            return result

    def make(seeds):
        return Monitor(FeatureObservation(Seeded(seeds), encoder, policy.spec.features))

    vectorized = DummyVecEnv([lambda: make(range(100, 108)), lambda: make(range(108, 116))])
    rewards, steps = evaluate_policy(policy, vectorized, 16, return_episode_rewards=True)
    assert len(rewards) == len(steps) == 16
    expected = run(policy=policy, encoder=FakeEncoder(history=2))
    for episode in expected.episodes[:16]:
        assert lengths[episode.seed] == episode.steps


def make_kitchen_agent():
    encoder = make_encoder("pixels")
    spec = PolicySpec(9, 9, {"wrist": FeatureShape(encoder.num_tokens, encoder.dimension)})
    policy = make_policy(MLPPolicy, MLPPolicyConfig(), spec, torch.Generator().manual_seed(0))
    with torch.no_grad():
        policy.head[-1].weight.mul_(100)
    return encoder, policy


make_kitchen = functools.partial(
    make_environment,
    KitchenConfig(task="light", resolution=32, horizon=5),
    render_mode="rgb_array",
)


def test_kitchen_episodes_are_the_same_to_the_pixel_in_one_process_and_in_many():
    encoder, policy = make_kitchen_agent()
    seeds = range(4_000, 4_005)
    films = []
    for workers, environments in ((0, 1), (2, 2)):
        shown = {}

        def sink(result, frames, solved, shown=shown):
            shown[result.seed] = frames

        request = FilmRequest(frozenset(seeds), sink)
        with EnvironmentPool(make_kitchen, workers, environments) as pool:
            result = evaluate(policy, encoder, ["wrist"], pool, seeds, film=request)
        assert [episode.steps for episode in result.episodes] == [5] * len(seeds)
        films.append(shown)
    for seed in seeds:
        np.testing.assert_array_equal(films[0][seed], films[1][seed])
        assert (films[0][seed][0] != films[0][seed][-1]).any()


def test_evaluate_policy_runs_on_the_kitchen():
    encoder, policy = make_kitchen_agent()
    environment = DummyVecEnv(
        [lambda: Monitor(FeatureObservation(make_kitchen(), encoder, policy.spec.features))] * 2
    )
    rewards, lengths = evaluate_policy(policy, environment, 3, return_episode_rewards=True)
    assert lengths == [5, 5, 5]
    assert len(rewards) == 3
    environment.close()


def test_feature_observation_refuses_a_camera_that_is_not_there():
    with pytest.raises(ObservationError, match="rgb/top"):
        FeatureObservation(FakeEnvironment(), FakeEncoder(), {"top": FeatureShape(4, 3, (2, 2))})
