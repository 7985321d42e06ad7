"""Environments as Stable-Baselines3 steps them, with one encoder for all of them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import Wrapper, spaces
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from egodtm_robot.core.errors import ConfigurationError, ObservationError
from egodtm_robot.core.history import advance_windows
from egodtm_robot.core.seeding import EPISODES_PER_RUN_SEED, Split, episode_seeds
from egodtm_robot.evaluation.environment_pool import EnvironmentPool, Report, Reset, Step
from egodtm_robot.evaluation.rollouts import ObservationEncoder, observation_key
from egodtm_robot.learning.reinforcement.reward import RewardConfig, step_rewards
from policies.spec import FEATURES_PREFIX, PROPRIOCEPTION, PolicySpec

Observations = dict[str, np.ndarray]


class FeatureVecEnv(VecEnv):
    """The environments of a pool with features in place of images.

    Observations are a flat dictionary of ``proprioception`` (N, P) and ``features/<stream>``
    (N, L, D), float32. In each step all environments work at once, in their processes; the
    environments whose episode is over begin another one, and then the encoder is called once for
    each camera, for the N observations and the last ones of finished episodes together. That a
    finished environment begins anew by itself, ``terminal_observation`` and
    ``TimeLimit.truncated`` are as in Stable-Baselines3's own.

    Each environment goes through episode seeds of its own, which do not depend on how the
    environments are spread over processes or how fast they are: environment i of N plays the
    episodes i, i + N, i + 2 N, ... of the run seed's split.

    Args:
        pool: with at least ``num_envs`` slots; closed with this object.
        encoder: makes the features.
        spec: shapes of observations and actions; its streams of features are those encoded.
        reward: what a step is worth.
        discount: of the algorithm, for the shaping.
        num_envs: N, environments that are stepped; None takes all of the pool.
        seed: run seed of the episodes, see :meth:`seed`.
        split: of the episodes.

    Attributes:
        episodes_begun: int64 (N,), the episodes that each environment has begun.

    Raises:
        ConfigurationError: the pool is too small.
        ObservationError: the environment does not show what the encoder reads.
    """

    actions: np.ndarray

    def __init__(
        self,
        pool: EnvironmentPool,
        encoder: ObservationEncoder,
        spec: PolicySpec,
        reward: RewardConfig,
        discount: float,
        num_envs: int | None = None,
        seed: int = 0,
        split: Split = "reinforcement",
    ) -> None:
        count = pool.slots if num_envs is None else num_envs
        if not 1 <= count <= pool.slots:
            raise ConfigurationError(
                f"Expected 1 to {pool.slots} environments, as many as the pool has, got {count}."
            )
        self.pool = pool
        self.shapes = spec
        self._encoder = encoder
        self._reward = reward
        self._discount = discount
        self._split: Split = split
        self._run_seed = seed
        self._slots = np.array(pool.slot_order[:count])
        self._keys = {stream: observation_key(encoder, stream) for stream in spec.features}
        for key in self._keys.values():
            if key is not None and key not in pool.observations:
                raise ObservationError(
                    f"The encoder reads {key}, but the environment gives "
                    f"{', '.join(pool.observations)}. Add the camera with env.cameras."
                )
        self._windows: dict[str, np.ndarray] = {}
        self._progress = np.zeros(count)
        self._succeeded = np.zeros(count, dtype=bool)
        self.episodes_begun = np.zeros(count, dtype=np.int64)
        boxes: dict[str, spaces.Space[Any]] = {PROPRIOCEPTION: _box(spec.proprioception)}
        for stream, shape in spec.features.items():
            boxes[FEATURES_PREFIX + stream] = _box(shape.tokens, shape.dimension)
        action_space = spaces.Box(-1.0, 1.0, (spec.actions,), np.float32)
        super().__init__(count, spaces.Dict(boxes), action_space)

    # -- episodes ------------------------------------------------------------------------------

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Begin the episodes of a run seed anew at the next reset; None changes nothing.

        Args:
            seed: run seed; one beyond the largest is taken modulo the number of run seeds.

        Returns:
            Of each environment, the seed of its next episode.
        """
        if seed is not None:
            self._run_seed = seed % 10_000
            self.episodes_begun[:] = 0
        return [self._episode_seed(index) for index in range(self.num_envs)]

    def _episode_seed(self, index: int) -> int:
        # After more episodes than a run seed has, the first ones come again.
        number = (self.episodes_begun[index] * self.num_envs + index) % EPISODES_PER_RUN_SEED
        return int(episode_seeds(self._split, self._run_seed, 1, int(number))[0])

    def _begin(self, rows: np.ndarray) -> dict[int, Report]:
        commands = [Reset(int(self._slots[row]), self._episode_seed(row)) for row in rows]
        self.episodes_begun[rows] += 1
        self._succeeded[rows] = False
        self.pool.submit(commands)
        return self._reports()

    def _reports(self) -> dict[int, Report]:
        """The reports of all outstanding commands by row."""
        rows = {int(slot): row for row, slot in enumerate(self._slots)}
        found: dict[int, Report] = {}
        while self.pool.outstanding:
            found |= {rows[report.slot]: report for report in self.pool.wait()}
        return found

    def reset(self) -> Observations:
        """Begin an episode in every environment; windows begin with its first frame repeated."""
        every = np.arange(self.num_envs)
        self.pool.abandon()
        reports = self._begin(every)
        rows = range(self.num_envs)
        self._progress[:] = [reports[row].progress or 0.0 for row in rows]
        self.reset_infos = [_info(reports[row]) for row in rows]
        # The seeds of episodes are the environment's own affair, see `seed`.
        self._reset_seeds()
        self._reset_options()
        starts = np.ones(self.num_envs, dtype=bool)
        observations, _ = self._observe(every[:0], {}, starts)
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Let every environment take its step.

        Args:
            actions: (N, A) in [-1, 1].
        """
        self.pool.actions[self._slots] = actions
        self.pool.submit([Step(int(slot)) for slot in self._slots])

    def step_wait(self) -> VecEnvStepReturn:
        """Observations, rewards (N,), whether episodes are over (N,), and what there is to say."""
        reports = self._reports()
        rows = range(self.num_envs)
        dones = np.array([reports[row].done for row in rows])
        progress = np.array([reports[row].progress or 0.0 for row in rows])
        success = np.array([reports[row].success for row in rows])
        rewards = step_rewards(
            self._reward, self._discount, self._progress, progress, success & ~self._succeeded
        )
        self._succeeded |= success
        self._progress = progress
        infos = [_info(reports[row]) for row in rows]

        over = np.flatnonzero(dones)
        last = {name: array[self._slots[over]] for name, array in self.pool.observations.items()}
        if len(over):
            begun = self._begin(over)
            for row in over.tolist():
                self._progress[row] = begun[row].progress or 0.0
                self.reset_infos[row] = _info(begun[row])
        observations, terminal = self._observe(over, last, dones)
        for place, row in enumerate(over.tolist()):
            infos[row]["terminal_observation"] = {
                name: array[place] for name, array in terminal.items()
            }
            infos[row]["TimeLimit.truncated"] = reports[row].truncated
        return observations, rewards, dones, infos

    def _observe(
        self, over: np.ndarray, last: Mapping[str, np.ndarray], starts: np.ndarray
    ) -> tuple[Observations, Observations]:
        """Encode the present frames and the last ones of finished episodes in one batch.

        Args:
            over: (E,) rows whose episode is over; another one has begun in them.
            last: what those saw last, (E, ...).
            starts: bool (N,), rows whose episode begins with the present frame.

        Returns:
            Observations of all rows (N, ...), and the last ones of the finished episodes (E, ...).
        """
        frames = self.pool.observations
        present = {PROPRIOCEPTION: np.array(frames[PROPRIOCEPTION][self._slots], np.float32)}
        terminal = {PROPRIOCEPTION: np.array(last.get(PROPRIOCEPTION, ()), np.float32)}
        history = self._encoder.history
        for stream, key in self._keys.items():
            if key is None:
                windows = np.zeros((self.num_envs + len(over), history, 0), np.float32)
            else:
                before = self._windows.get(key)
                ended = frames[key][:0][:, None].repeat(history, axis=1)
                if len(over):
                    assert before is not None
                    nowhere = np.zeros(len(over), dtype=bool)
                    ended = advance_windows(before[over], last[key], nowhere, history)
                running = advance_windows(before, frames[key][self._slots], starts, history)
                self._windows[key] = running
                windows = np.concatenate([running, ended])
            features = self._encoder.encode(windows)
            present[FEATURES_PREFIX + stream] = features[: self.num_envs]
            terminal[FEATURES_PREFIX + stream] = features[self.num_envs :]
        return present, terminal

    def close(self) -> None:
        """Close the pool."""
        self.pool.close()

    # -- what else Stable-Baselines3 asks of vectorized environments -----------------------------

    _SHARED: ClassVar[tuple[str, ...]] = ("observation_space", "action_space")

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of this object that holds for each environment; they have no others here.

        Raises:
            AttributeError: there is no such attribute; those of environments stay in their workers.
        """
        rows = self._get_indices(indices)
        if attr_name == "render_mode":
            return [None for _ in rows]  # films are the evaluation's
        if attr_name not in self._SHARED:
            raise AttributeError(
                f"Expected one of {', '.join(self._SHARED)}, got {attr_name!r}: attributes of "
                "environments stay in their processes."
            )
        return [getattr(self, attr_name) for _ in rows]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Environments in processes have no attributes to set.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(f"Cannot set {attr_name!r} in environments that run in processes.")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **_: Any
    ) -> list[Any]:
        """Environments in processes have no methods to call.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(f"Cannot call {method_name!r} in environments that run in processes.")

    def env_is_wrapped(
        self,
        wrapper_class: type[Wrapper[Any, Any, Any, Any]],
        indices: VecEnvIndices = None,
    ) -> list[bool]:
        """No environment counts as wrapped: what a wrapper adds to ``info`` does not come here."""
        return [False for _ in self._get_indices(indices)]


def _box(*shape: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def _info(report: Report) -> dict[str, Any]:
    """What Stable-Baselines3 finds beside an observation; its logger reads ``is_success``."""
    return {
        "solved": report.solved,
        "success": report.success,
        "is_success": report.success,
        "progress": report.progress,
    }
