"""Demonstrations as transitions: what was seen, done and earned, and what was seen next."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from egodtm_robot.demos.store import DemonstrationStore
from egodtm_robot.learning.dataset import CachedFeatureDataset
from egodtm_robot.learning.reinforcement.residual import residual_of
from egodtm_robot.learning.reinforcement.reward import RewardConfig, step_rewards
from envs.options import EnvironmentConfig
from envs.registry import make_environment
from policies.actor import BASE_ACTION
from policies.base import Policy


@dataclass(frozen=True)
class Transitions:
    """N demonstrated steps.

    Attributes:
        observations: before the steps, (N, ...) by name.
        next_observations: after them; an episode's last step has the one before it, which nothing
            reads, since the episode ends in success.
        actions: float32 (N, A) in [-1, 1], as the actor would have given them.
        rewards: float32 (N,).
        ends: bool (N,), whether the episode ends with the step.
    """

    observations: Mapping[str, np.ndarray]
    next_observations: Mapping[str, np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        """N."""
        return len(self.actions)


def demonstrated_transitions(
    dataset: CachedFeatureDataset,
    progress: np.ndarray,
    reward: RewardConfig,
    discount: float,
    base: Policy | None = None,
    scale: np.ndarray | None = None,
) -> Transitions:
    """What demonstrations are to a learner.

    Args:
        dataset: of the demonstrations.
        progress: float64 (N,), before each step, see :func:`demonstrated_progress`.
        reward: what a step is worth.
        discount: of the algorithm.
        base: the frozen policy below a residual one; None for an actor that acts alone.
        scale: (A,), see :func:`~egodtm_robot.learning.reinforcement.residual.combined`.
    """
    offsets = dataset.episode_offsets
    ends = np.zeros(len(dataset.actions), dtype=bool)
    ends[offsets[1:] - 1] = True
    after = np.where(ends, 1.0, np.roll(progress, -1))
    observations = dict(dataset.observation)
    actions = dataset.actions
    if base is not None:
        assert scale is not None
        own = actions_of(base, dataset)
        observations[BASE_ACTION] = own
        actions = residual_of(actions, own, scale)
    following = np.where(ends, np.arange(len(ends)), np.arange(len(ends)) + 1)
    return Transitions(
        observations=observations,
        next_observations={name: array[following] for name, array in observations.items()},
        actions=actions,
        # A store keeps successes alone, each up to the step that made it one.
        rewards=step_rewards(reward, discount, progress, after, ends),
        ends=ends,
    )


def demonstrated_progress(
    store: DemonstrationStore, env: EnvironmentConfig, episodes: int
) -> np.ndarray:
    """The environment's progress before each step of the first episodes, float64 (N,) in [0, 1].

    Raises:
        InvalidStateError: the environment is not the one that the store was collected in.
    """
    found = []
    with closing(make_environment(env, modalities=())) as environment:
        for index in range(episodes):
            record = store.reset_record(index)
            for state in store.episode(index, ["simulator_state"])["simulator_state"]:
                environment.restore(state, record)
                found.append(environment.progress())
    return np.array(found, dtype=np.float64)


def actions_of(policy: Policy, dataset: CachedFeatureDataset) -> np.ndarray:
    """What a policy would do at each demonstrated step after those before it, float32 (N, A)."""
    first, lengths = dataset.episode_offsets[:-1], np.diff(dataset.episode_offsets)
    actions = np.zeros_like(dataset.actions)
    state = None
    for step in range(int(lengths.max())):
        # Episodes that are over stay at their last step, so that memory keeps its rows.
        rows = first + np.minimum(step, lengths - 1)
        observation = {name: array[rows] for name, array in dataset.observation.items()}
        starts = np.full(len(rows), step == 0)
        acted, state = policy.predict(observation, state, starts)
        running = step < lengths
        actions[rows[running]] = acted[running]
    return actions
