"""Filling a store with demonstrations of scripted experts.

Experts act in the environment while Gaussian noise is added to what is executed; what is recorded
is the expert's clean action (DART; Laskey et al., 2017), so that the demonstrations show how to
come back from where a policy's own errors lead. Only successful episodes are kept. Physics runs
first, and only what is kept is drawn.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from egodtm_robot.core.errors import EgoDTMRobotError, StoreExistsError, StoreNotFoundError
from egodtm_robot.core.processes.maps import ordered_map
from egodtm_robot.core.seeding import episode_seeds
from egodtm_robot.core.storage import check_free_space
from egodtm_robot.core.storage.locking import UNTIL_FREE
from egodtm_robot.demos.attributes import DemonstrationAttributes
from egodtm_robot.demos.compatibility import check_compatible
from egodtm_robot.demos.drawing import draw_episode
from egodtm_robot.demos.episode import Episode
from egodtm_robot.demos.store import DemonstrationStore, check_free_path, estimate_bytes
from envs.contract import Demonstrator, EnvironmentDescription, RobotEnvironment
from envs.options import EnvironmentConfig, Quality
from envs.registry import make_environment

_NOISE_STREAM = 0xDA27
_MAX_REJECTED_SHARE = 0.9
_MIN_ATTEMPTS_BEFORE_GIVING_UP = 50


class CollectionError(EgoDTMRobotError, RuntimeError):
    """The expert fails so often that the demonstrations would never be complete."""


@dataclass(frozen=True)
class CollectionSummary:
    """What a collection brought.

    Attributes:
        kept: episodes in the store now.
        attempted: episodes tried for them, in all sessions.
        steps: control steps in the store.
        seconds: wall time of this session.
        collected: episodes that this session added.
    """

    kept: int
    attempted: int
    steps: int
    seconds: float
    collected: int

    @property
    def rejection_rate(self) -> float:
        """Share of attempted episodes that failed and were not kept."""
        return 1.0 - self.kept / self.attempted if self.attempted else 0.0


@dataclass(frozen=True)
class EpisodeRequest:
    """One attempt: its environment seed and the level of executed noise."""

    seed: int
    noise: float


def run_expert_episode(
    env: RobotEnvironment, expert: Demonstrator, request: EpisodeRequest
) -> Episode | None:
    """Runs the expert once; None if it failed or gave up.

    Args:
        env: an environment without images in its observations.
        expert: its demonstrator.
        request: seed and noise. The noise is Gaussian with this standard deviation, in units of
            the action, on the environment's ``noisy_actions``; its draws depend on the seed alone.

    Returns:
        The episode with states and clean actions; its ``rgb`` is still empty.
    """
    observation, _ = env.reset(seed=int(request.seed))
    expert.reset()
    generator = np.random.default_rng([_NOISE_STREAM, int(request.seed)])
    noisy = np.flatnonzero(env.noisy_actions)
    proprioception, privileged, actions, states = [], [], [], []
    success = False
    while True:
        chosen = expert.act()
        if chosen is None:
            return None
        states.append(env.simulator_state())
        proprioception.append(observation["proprioception"])
        privileged.append(observation["privileged"])
        clean = np.clip(np.asarray(chosen, dtype=np.float64), -1.0, 1.0)
        actions.append(clean.astype(np.float32))
        executed = clean.copy()
        executed[noisy] += generator.normal(0.0, 1.0, len(noisy)) * request.noise
        observation, _, terminated, truncated, info = env.step(np.clip(executed, -1.0, 1.0))
        if terminated or truncated:
            success = bool(info["success"])
            break
    if not success:
        return None
    return Episode(
        rgb={},
        proprioception=np.stack(proprioception),
        privileged=np.stack(privileged),
        actions=np.stack(actions),
        simulator_state=np.stack(states),
        reset=env.reset_record(),
        seed=int(request.seed),
        success=True,
    )


# A worker process keeps its environment between calls; it is set by the initializer below.
_worker: dict[str, Any] = {}


def _start_worker(config: EnvironmentConfig) -> None:
    env = make_environment(config, modalities=())
    _worker.update(env=env, expert=env.demonstrator())


def _attempt(request: EpisodeRequest) -> Episode | None:
    env = _worker["env"]
    episode = run_expert_episode(env, _worker["expert"], request)
    if episode is not None:
        for camera in env.cameras:
            episode.rgb[camera.name] = draw_episode(env, episode, camera.name)
    return episode


@dataclass(frozen=True)
class _Collection:
    """The environment to collect in and its demonstrator, asked once."""

    environment: EnvironmentDescription
    expert_version: str

    @classmethod
    def of(cls, config: EnvironmentConfig) -> "_Collection":
        with closing(make_environment(config, modalities=())) as env:
            return cls(env.describe(), env.demonstrator().version)

    def attributes(
        self, config: EnvironmentConfig, noise: float, seed: int
    ) -> DemonstrationAttributes:
        """What identifies the demonstrations of this environment, noise and seed."""
        environment = self.environment
        return DemonstrationAttributes(
            environment=environment.name,
            task=environment.task,
            randomization=environment.randomization,
            visual=environment.visual,
            model_hash=environment.model_hash,
            mujoco_version=environment.engine_version,
            expert_version=self.expert_version,
            noise=float(noise),
            seed=int(seed),
            cameras=tuple(camera.name for camera in environment.cameras),
            resolution=(config.resolution, config.resolution),
            quality=config.quality,
            licence=environment.license,
            camera_poses=environment.camera_poses,
            kind=environment.kind,
            horizon=environment.horizon,
            control_dt=environment.control_dt,
        )


def collect_demonstrations(
    config: EnvironmentConfig,
    path: Path,
    episodes: int,
    seed: int = 0,
    noise: float = 0.05,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> CollectionSummary:
    """Fills a store up to ``episodes`` successful episodes; goes on where it was left.

    The n-th attempt has the n-th seed of the split ``demonstrations``, and successes are committed
    in that order: the store holds the same episodes whatever the number of workers, and however
    often the collection was interrupted.

    Args:
        config: environment, cameras and resolution.
        path: folder of the store; made if absent.
        episodes: how many successful episodes the store shall hold.
        seed: seed of the collection.
        noise: standard deviation of the executed noise, in units of the action.
        workers: processes; 0 collects in this one.
        on_progress: called with (kept, attempted) after each attempt.

    Raises:
        ForeignStoreError: the store there holds other demonstrations.
        DiskSpaceError: the disk has no room for the estimate.
        CollectionError: the expert fails nearly always.
    """
    started = time.perf_counter()
    collection = _Collection.of(config)
    with _open_for_collection(path, collection, config, noise, seed) as store:
        already = store.num_episodes
        if already < episodes:
            config = _as_stored(config, store.attributes)
            size = _estimate_bytes(store, collection.environment, episodes - already)
            check_free_space(path, size)
            requests = _requests(seed, noise, store.attempted_episodes)
            # Closing the map cancels the attempts that are under way when the store is full.
            with closing(
                ordered_map(_attempt, requests, workers, _start_worker, (config,))
            ) as attempts:
                _fill(store, attempts, episodes, on_progress)
        return CollectionSummary(
            kept=store.num_episodes,
            attempted=store.attempted_episodes,
            steps=store.num_steps,
            seconds=time.perf_counter() - started,
            collected=store.num_episodes - already,
        )


def check_collection(
    config: EnvironmentConfig, path: Path, seed: int = 0, noise: float = 0.05
) -> None:
    """Refuse what :func:`collect_demonstrations` would refuse, without writing anything.

    Raises:
        NoDemonstratorError: nobody can do the task.
        StoreExistsError: something else than a store lies there.
        ForeignStoreError: the store there holds other demonstrations.
    """
    collection = _Collection.of(config)
    try:
        store = DemonstrationStore.open(path)
    except StoreNotFoundError:
        check_free_path(path)
        return
    _check_same(store, collection, collection.attributes(config, noise, seed))


def _fill(
    store: DemonstrationStore,
    attempts: Iterable[Episode | None],
    episodes: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Appends successful attempts until the store holds enough."""
    attempted = store.attempted_episodes
    rejected = 0
    for episode in attempts:
        attempted += 1
        if episode is None:
            rejected += 1
        else:
            store.append_episode(episode, rejected_before=rejected)
            rejected = 0
        if on_progress is not None:
            on_progress(store.num_episodes, attempted)
        if store.num_episodes >= episodes:
            break
        _give_up_if_hopeless(store.num_episodes, attempted)


def _open_for_collection(
    path: Path, collection: _Collection, config: EnvironmentConfig, noise: float, seed: int
) -> DemonstrationStore:
    """Opens the store there for appending, or makes it.

    Another run that collects into it is waited for: runs of a benchmark that want the same
    demonstrations begin at once.

    Raises:
        ForeignStoreError: it holds demonstrations of another environment, expert, noise or seed.
    """
    wanted = collection.attributes(config, noise, seed)
    try:
        store = DemonstrationStore.open(path, "a", timeout_s=UNTIL_FREE)
    except StoreNotFoundError:
        try:
            return DemonstrationStore.create(path, wanted, timeout_s=UNTIL_FREE)
        except StoreExistsError:  # by another run, just now
            store = DemonstrationStore.open(path, "a", timeout_s=UNTIL_FREE)
    try:
        _check_same(store, collection, wanted)
    except BaseException:
        store.close()
        raise
    return store


def _check_same(
    store: DemonstrationStore, collection: _Collection, wanted: DemonstrationAttributes
) -> None:
    """Refuse a store of other demonstrations.

    Cameras and resolution may differ: what else is wanted is drawn from the stored states. But one
    name stands for one camera.
    """
    decisive = {name: getattr(wanted, name) for name in ("expert_version", "noise", "seed")}
    check_compatible(store, collection.environment, collection=decisive)


def _as_stored(config: EnvironmentConfig, stored: DemonstrationAttributes) -> EnvironmentConfig:
    """The configuration with the store's own cameras and images, which every episode must have."""
    own = config.environment_class.own_cameras
    return dataclasses.replace(
        config,
        cameras=[
            name if name in own else {"name": name, **stored.camera_poses.get(name, {})}
            for name in stored.cameras
        ],
        resolution=stored.resolution[0],
        quality=cast(Quality, stored.quality),
    )


def _estimate_bytes(
    store: DemonstrationStore, environment: EnvironmentDescription, episodes: int
) -> int:
    """Bytes that further episodes take: as long as the stored ones, or the whole horizon."""
    steps = episodes * environment.horizon
    if store.num_episodes:
        steps = episodes * -(-store.num_steps // store.num_episodes)
    attributes = store.attributes
    images = {f"rgb/{name}": ((*attributes.resolution, 3), "uint8") for name in attributes.cameras}
    state = {"simulator_state": ((environment.state_size,), "float64")}
    return estimate_bytes(steps, {**state, **images})


def _requests(seed: int, noise: float, start: int) -> Iterator[EpisodeRequest]:
    index = start
    while True:
        yield EpisodeRequest(int(episode_seeds("demonstrations", seed, 1, start=index)[0]), noise)
        index += 1


def _give_up_if_hopeless(kept: int, attempted: int) -> None:
    if attempted >= _MIN_ATTEMPTS_BEFORE_GIVING_UP and kept < (1 - _MAX_REJECTED_SHARE) * attempted:
        raise CollectionError(
            f"Expected the expert to succeed; it failed {attempted - kept} of {attempted} "
            "attempts. Lower the noise, lengthen the horizon, or choose another reset preset, such "
            "as the kitchen's env.randomization=default, which keeps the handle in reach."
        )
