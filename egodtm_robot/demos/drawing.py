"""Drawing stored demonstrations again, from any camera, at any resolution, in any modality.

A store keeps every simulator state and all that a reset randomized. What is drawn from them equals
what collecting with that camera would have stored.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from egodtm_robot.core.errors import UnknownNameError
from egodtm_robot.core.processes.maps import ordered_map
from egodtm_robot.core.storage import check_free_space
from egodtm_robot.core.storage.locking import UNTIL_FREE
from egodtm_robot.demos.compatibility import check_compatible
from egodtm_robot.demos.episode import Episode
from egodtm_robot.demos.recorded import recorded_environment
from egodtm_robot.demos.store import DemonstrationStore, estimate_bytes
from envs.contract import RobotEnvironment
from envs.options import EnvironmentConfig
from envs.registry import (
    describe_environment,
    make_environment,
)

Modality = Literal["rgb", "depth", "segmentation"]
_MODALITIES = {"rgb": ((3,), "uint8"), "depth": ((), "float32"), "segmentation": ((), "int32")}


def draw_episode(
    env: RobotEnvironment, episode: Episode, camera: str, modality: str = "rgb"
) -> np.ndarray:
    """Draws a stored episode from one camera, (T, H, W, ...) as the environment gives it."""
    frames = []
    for state in episode.simulator_state:
        env.restore(state, episode.reset)
        frames.append(env.render_camera(camera, modality))
    return np.stack(frames)


def image_modality(
    store: DemonstrationStore, config: EnvironmentConfig, modality: str = "rgb"
) -> str:
    """First part of the names of the store's images at the configured resolution.

    ``rgb`` (as in ``rgb/left``) at the store's own resolution, else with it, as in
    ``rgb_224/left``. Those of another toolkit are as they were recorded.
    """
    if store.attributes.foreign:
        return modality
    size = config.resolution
    own = tuple(store.attributes.resolution) == (size, size)
    return modality if own else f"{modality}_{size}"


def add_images(
    path: Path,
    config: EnvironmentConfig,
    modalities: Sequence[str] = ("rgb",),
    workers: int = 2,
    progress: Callable[[str, int], Callable[[int], None]] | None = None,
) -> list[str]:
    """Adds what the store lacks of the configured cameras; goes on where it was interrupted.

    Args:
        path: folder of the store.
        config: cameras, resolution and quality to draw with; the environment and its presets are
            the store's.
        modalities: of ``rgb``, ``depth`` (float32 meters) and ``segmentation`` (int32 body ids).
        workers: processes; 0 draws in this one.
        progress: given (array name, steps) returns a function to call with the steps done.

    Returns:
        Names of the arrays that were written.

    Raises:
        UnknownNameError: a modality or camera is unknown.
        ForeignStoreError: the store was made by another scene, or has images of another camera
            under the name of one of these.
        DiskSpaceError: the disk has no room for the estimate.
    """
    for modality in modalities:
        if modality not in _MODALITIES:
            raise UnknownNameError("modality", modality, tuple(_MODALITIES))
    store = DemonstrationStore.open(path)
    config = recorded_environment(store.attributes, config)
    environment = describe_environment(config)
    check_compatible(store, environment)
    poses = environment.camera_poses

    present = set(store.array_names)
    wanted = {
        f"{image_modality(store, config, modality)}/{camera}": (camera, modality)
        for camera in poses
        for modality in modalities
    }
    missing = {name: what for name, what in wanted.items() if name not in present}
    shapes = {name: _row(config.resolution, modality) for name, (_, modality) in missing.items()}
    check_free_space(path, estimate_bytes(store.num_steps, shapes))
    for name, (camera, modality) in missing.items():
        report = progress(name, store.num_steps) if progress is not None else None
        shape, dtype = shapes[name]
        with store.add_observation(
            name, shape, dtype, camera_pose=poses[camera], timeout_s=UNTIL_FREE
        ) as writer:
            # Every commit is a whole episode, so the next row begins one.
            first = int(np.searchsorted(store.episode_offsets, writer.next_row))
            jobs = [(index, camera, modality) for index in range(first, store.num_episodes)]
            start = partial(_start_worker, config, path)
            for frames in ordered_map(_draw, jobs, workers, start):
                writer.append(frames)
                if report is not None:
                    report(writer.next_row)
    return list(missing)


def _row(resolution: int, modality: str) -> tuple[tuple[int, ...], str]:
    channels, dtype = _MODALITIES[modality]
    return (resolution, resolution, *channels), dtype


# A worker process keeps its environment and store between calls.
_worker: dict[str, Any] = {}


def _start_worker(config: EnvironmentConfig, path: Path) -> None:
    _worker.update(env=make_environment(config, modalities=()), store=DemonstrationStore.open(path))


def _draw(job: tuple[int, str, str]) -> np.ndarray:
    index, camera, modality = job
    store = _worker["store"]
    arrays = store.episode(index, ("simulator_state", "proprioception", "privileged", "actions"))
    episode = Episode(
        rgb={}, reset=store.reset_record(index), seed=int(store.seeds[index]), **arrays
    )
    return draw_episode(_worker["env"], episode, camera, modality)
