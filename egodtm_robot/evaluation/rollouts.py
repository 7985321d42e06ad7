"""Rollouts of a policy in many environments at once, with one encoder for all of them.

Environments run in an
:class:`~egodtm_robot.evaluation.environment_pool.EnvironmentPool`; images are encoded here, in
batches over all running environments. An episode's outcome depends on its seed and the
policy alone, not on the number of workers and environments: encoder and policy see batches of
constant size, and a slot that is free takes the next seed.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from egodtm_robot.core.errors import ConfigurationError, EnvironmentWorkerError, ObservationError
from egodtm_robot.core.history import advance_windows
from egodtm_robot.evaluation.environment_pool import EnvironmentPool, Report, Reset, Step
from policies.base import PolicyState
from policies.spec import FEATURES_PREFIX, PROPRIOCEPTION


class ObservationEncoder(Protocol):
    """What rollouts need of an encoder or a feature pipeline; see egodtm_robot.encoders.base."""

    @property
    def source(self) -> Literal["rgb", "privileged", "none"]:
        """What it reads."""
        ...

    @property
    def history(self) -> int:
        """Frames T of a window."""
        ...

    def encode(self, images: np.ndarray) -> np.ndarray:
        """(B, T, ...) to float32 (B, L, D)."""
        ...


class Predictor(Protocol):
    """What rollouts need of a policy: Stable-Baselines3's ``predict``, with state as arrays."""

    def predict(
        self,
        observation: Mapping[str, np.ndarray],
        state: PolicyState | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, PolicyState | None]:
        """Actions (B, A), and the state whose rows belong to the same environments."""
        ...


@dataclass(frozen=True)
class EpisodeResult:
    """How one episode went.

    Attributes:
        seed: that it was reset with.
        success: by the environment's rule.
        steps: taken.
        solved_step: steps after which the task was solved for the first time; None if never.
        solved_steps: steps after which the task was solved.
        progress: the largest of any state, in [0, 1]; None where the environment reports none.
    """

    seed: int
    success: bool
    steps: int
    solved_step: int | None
    solved_steps: int
    progress: float | None


@dataclass(frozen=True)
class EvaluationResult:
    """Episodes, sorted by seed.

    Attributes:
        episodes: one result a seed.
        timings_s: seconds in all (``total``), in ``encode`` and ``policy``, and waiting for
            environments (``environments``).
    """

    episodes: tuple[EpisodeResult, ...]
    timings_s: Mapping[str, float]

    @property
    def successes(self) -> int:
        """Episodes that succeeded."""
        return sum(episode.success for episode in self.episodes)

    @property
    def success_rate(self) -> float:
        """Share of the episodes that succeeded."""
        return self.successes / len(self.episodes)


class FinishedEpisodes(Protocol):
    """Where the results of finished episodes are kept; see egodtm_robot.evaluation.episode_log."""

    @property
    def results(self) -> Mapping[int, EpisodeResult]:
        """Of the episodes that need not be run, by their seeds."""
        ...

    def add(self, result: EpisodeResult) -> None:
        """Keep the result of an episode that has ended."""
        ...


FilmSink = Callable[[EpisodeResult, np.ndarray, np.ndarray], None]
"""Takes an episode's result, its frames uint8 (steps + 1, H, W, 3), the first before the first
action, and whether the task was solved at each, bool (steps + 1,)."""


@dataclass(frozen=True)
class FilmRequest:
    """Which episodes to film.

    Attributes:
        seeds: of the episodes; those that are not evaluated are ignored.
        sink: called with each film as its episode ends, in no particular order.
    """

    seeds: frozenset[int]
    sink: FilmSink


def evaluate(
    policy: Predictor,
    encoder: ObservationEncoder,
    cameras: Sequence[str],
    pool: EnvironmentPool,
    seeds: Sequence[int] | np.ndarray,
    *,
    film: FilmRequest | None = None,
    finished: FinishedEpisodes | None = None,
    progress: Callable[[int, int, int], None] | None = None,
) -> EvaluationResult:
    """Run one episode a seed.

    Args:
        policy: reads ``proprioception`` and ``features/<camera>``.
        encoder: makes the features, with the same parameters for every camera.
        cameras: whose images are encoded; for state encoders the names that the policy knows the
            features by.
        pool: where the environments are. Fastest with as many slots as the encoder's batch.
        seeds: distinct, at least one.
        film: episodes to record, None for none.
        finished: results of episodes that are not run again, unless they are to be filmed; gets the
            others as they end. None keeps nothing.
        progress: called after each episode with (episodes done, episodes in all, successes).

    Returns:
        One result a seed, sorted by seed.

    Raises:
        ConfigurationError: no seeds, or one twice.
        ObservationError: the environment gives no images of a camera.
        EnvironmentWorkerError: a worker process failed.
    """
    todo = [int(seed) for seed in seeds]
    if not todo or len(set(todo)) < len(todo):
        raise ConfigurationError(
            f"Expected distinct seeds, at least one, got {len(todo)} seeds, "
            f"{len(set(todo))} of them distinct."
        )
    evaluation = _Evaluation(policy, encoder, cameras, pool, todo, film, finished, progress)
    try:
        return evaluation.run()
    except EnvironmentWorkerError:
        pool.close()
        raise
    except BaseException:
        pool.abandon()
        raise


@dataclass
class _Episode:
    """An episode that is running in a slot."""

    seed: int
    steps: int = -1  # the reset's report makes it 0
    solved_step: int | None = None
    solved_steps: int = 0
    progress: float | None = None
    film: bool = False
    frames: list[np.ndarray] = field(default_factory=list)
    solved: list[bool] = field(default_factory=list)

    def update(self, report: Report) -> None:
        self.steps += 1
        if report.solved and self.solved_step is None:
            self.solved_step = self.steps
        self.solved_steps += report.solved
        if report.progress is not None:
            self.progress = max(report.progress, self.progress or 0.0)
        if report.frame is not None:
            self.frames.append(report.frame)
            self.solved.append(report.solved)


class _Evaluation:
    """State of one call of :func:`evaluate`."""

    def __init__(
        self,
        policy: Predictor,
        encoder: ObservationEncoder,
        cameras: Sequence[str],
        pool: EnvironmentPool,
        seeds: list[int],
        film: FilmRequest | None,
        finished: FinishedEpisodes | None,
        progress: Callable[[int, int, int], None] | None,
    ) -> None:
        self.policy = policy
        self.features = _SlotFeatures(encoder, cameras, pool)
        self.batch = int(getattr(encoder, "batch_size", 1))
        self.pool = pool
        known = {} if finished is None else finished.results
        # A film has to be seen to be written.
        filmed = frozenset() if film is None else film.seeds
        self.results = [known[seed] for seed in seeds if seed in known and seed not in filmed]
        done = {result.seed for result in self.results}
        self.waiting = deque(seed for seed in seeds if seed not in done)
        self.total = len(seeds)
        self.film = film
        self.finished = finished
        self.progress = progress
        self.running: dict[int, _Episode] = {}
        self.state: PolicyState | None = None
        self.timings = {"environments": 0.0, "encode": 0.0, "policy": 0.0}

    def run(self) -> EvaluationResult:
        began = time.perf_counter()
        self._begin(self.pool.slot_order)
        ready: list[int] = []
        while self.running:
            mark = time.perf_counter()
            reports = self.pool.wait()
            self.timings["environments"] += time.perf_counter() - mark
            free = []
            for report in reports:
                episode = self.running[report.slot]
                episode.update(report)
                if report.done:
                    self._finish(report.slot, report.success)
                    free.append(report.slot)
                else:
                    ready.append(report.slot)
            self._begin(free)
            # Full batches go on at once, while other workers still draw; the rest waits for
            # company as long as any is to be expected.
            count = (
                len(ready) if not self.pool.outstanding else len(ready) // self.batch * self.batch
            )
            if count:
                ready.sort()
                self._act(ready[:count])
                del ready[:count]
        self.timings["total"] = time.perf_counter() - began
        episodes = tuple(sorted(self.results, key=lambda episode: episode.seed))
        return EvaluationResult(episodes, self.timings)

    def _begin(self, slots: Sequence[int]) -> None:
        commands = []
        for slot in slots:
            if not self.waiting:
                break
            seed = self.waiting.popleft()
            filmed = self.film is not None and seed in self.film.seeds
            self.running[slot] = _Episode(seed, film=filmed)
            commands.append(Reset(slot, seed, filmed))
        self._submit(commands)

    def _finish(self, slot: int, success: bool) -> None:
        episode = self.running.pop(slot)
        result = EpisodeResult(
            seed=episode.seed,
            success=success,
            steps=episode.steps,
            solved_step=episode.solved_step,
            solved_steps=episode.solved_steps,
            progress=None if episode.progress is None else float(episode.progress),
        )
        self.results.append(result)
        if self.film is not None and episode.film:
            self.film.sink(result, np.stack(episode.frames), np.array(episode.solved, dtype=bool))
        if self.finished is not None:
            self.finished.add(result)
        if self.progress is not None:
            successes = sum(episode.success for episode in self.results)
            self.progress(len(self.results), self.total, successes)

    def _act(self, slots: list[int]) -> None:
        starts = np.array([self.running[slot].steps == 0 for slot in slots])
        mark = time.perf_counter()
        observation = self.features(slots, starts)
        encoded = time.perf_counter()
        rows = np.array(slots)
        state = None
        if self.state is not None:
            state = {name: array[rows] for name, array in self.state.items()}
        actions, state = self.policy.predict(observation, state, starts)
        if state is not None:
            if self.state is None:
                self.state = {
                    name: np.zeros((self.pool.slots, *array.shape[1:]), array.dtype)
                    for name, array in state.items()
                }
            for name, array in state.items():
                self.state[name][rows] = array
        self.pool.actions[rows] = actions
        self.timings["encode"] += encoded - mark
        self.timings["policy"] += time.perf_counter() - encoded
        self._submit([Step(slot) for slot in slots])

    def _submit(self, commands: Sequence[Reset | Step]) -> None:
        # Without workers the environments run inside this call.
        mark = time.perf_counter()
        if commands:
            self.pool.submit(commands)
        self.timings["environments"] += time.perf_counter() - mark


class _SlotFeatures:
    """Features of chosen slots, with each slot's own window of frames."""

    def __init__(
        self, encoder: ObservationEncoder, cameras: Sequence[str], pool: EnvironmentPool
    ) -> None:
        self.encoder = encoder
        self.pool = pool
        self.keys = {camera: observation_key(encoder, camera) for camera in cameras}
        self.windows: dict[str, np.ndarray] = {}
        for key in self.keys.values():
            if key is not None and key not in pool.observations:
                raise ObservationError(
                    f"The encoder reads {key}, but the environment gives "
                    f"{', '.join(pool.observations)}. Add the camera with env.cameras."
                )
            if key is not None and encoder.history > 1:
                frames = pool.observations[key]
                shape = (len(frames), encoder.history, *frames.shape[1:])
                self.windows[key] = np.zeros(shape, frames.dtype)

    def __call__(self, slots: list[int], starts: np.ndarray) -> dict[str, np.ndarray]:
        rows = np.array(slots)
        observation = {PROPRIOCEPTION: self.pool.observations[PROPRIOCEPTION][rows]}
        for camera, key in self.keys.items():
            if key is None:
                images = np.zeros((len(rows), self.encoder.history, 0), np.float32)
            else:
                images = self._window(key, rows, starts)
            observation[FEATURES_PREFIX + camera] = self.encoder.encode(images)
        return observation

    def _window(self, key: str, rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """(rows, T, ...): the last T frames, an episode's first one repeated before it."""
        frames = self.pool.observations[key][rows]
        if self.encoder.history == 1:
            return frames[:, None]
        windows = advance_windows(self.windows[key][rows], frames, starts, self.encoder.history)
        self.windows[key][rows] = windows
        return windows


def observation_key(encoder: ObservationEncoder, camera: str) -> str | None:
    """What of an observation, nested keys joined by ``/``, an encoder reads for a camera."""
    if encoder.source == "rgb":
        return f"rgb/{camera}"
    return "privileged" if encoder.source == "privileged" else None
