"""What makes a store of demonstrations foreign, compared here for every reader.

A simulator's states fit one scene, a policy learns one task under one control rate, and images
under a camera's name come from one pose. Collecting, drawing, training and everything else that
reads a store checks it here first.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from egodtm_robot.core.errors import ForeignStoreError, UnknownNameError
from egodtm_robot.demos.store import DemonstrationStore
from envs.contract import EnvironmentDescription


def check_compatible(
    store: DemonstrationStore,
    environment: EnvironmentDescription,
    *,
    collection: Mapping[str, Any] | None = None,
    allow_foreign: bool = False,
) -> None:
    """Refuse a store that was not made in this environment.

    Compared are the kind of environment, task, scene, presets, horizon and control rate, and the
    pose of every camera that has images there. What a store of an earlier version does not say is
    not compared.

    Args:
        store: open in either mode.
        environment: where its demonstrations are to be used.
        collection: further attributes that decide what was collected, such as ``noise`` and
            ``seed``, with their wanted values.
        allow_foreign: accept all differences but those of cameras, whose images would be mixed,
            and of sizes, which no policy could bridge.

    Raises:
        ForeignStoreError: something differs; the message names everything that does.
    """
    _check_sizes(store, environment)
    attributes = store.attributes
    wanted = {
        "kind": environment.kind,
        "task": environment.task,
        "model_hash": environment.model_hash,
        "randomization": environment.randomization,
        "visual": environment.visual,
        "horizon": environment.horizon,
        "control_dt": environment.control_dt,
        **(collection or {}),
    }
    stored = {name: getattr(attributes, name) for name in wanted}
    stored["kind"] = attributes.environment_kind
    differing = [
        name for name, value in wanted.items() if stored[name] is not None and stored[name] != value
    ]
    if differing and not allow_foreign:
        raise ForeignStoreError(
            f"Expected demonstrations of {', '.join(f'{k} {wanted[k]!r}' for k in differing)}, but "
            f"{store.path} was made with {', '.join(f'{k} {stored[k]!r}' for k in differing)}. "
            "Name another store, ask for what this one holds, or collect another."
        )
    poses = store.camera_poses
    for camera, pose in environment.camera_poses.items():
        there = poses.get(camera, pose)
        moved = [key for key in {**pose, **there} if pose.get(key) != there.get(key)]
        if moved:
            raise ForeignStoreError(
                f"Expected images of the camera {camera!r} with "
                f"{', '.join(f'{key} {pose.get(key)}' for key in moved)}, but those in "
                f"{store.path} were drawn with "
                f"{', '.join(f'{key} {there.get(key)}' for key in moved)}. Give the camera "
                "another name, or the pose that the store has."
            )


def check_foreign_recordings(
    store: DemonstrationStore, cameras: Mapping[str, tuple[int, int]], environment: str
) -> None:
    """Refuse another toolkit's demonstrations that an environment could not have brought about.

    They can't be drawn again, so their images are those that there are.

    Args:
        store: of demonstrations with an origin.
        cameras: that are to be seen, with the (height, width) of the environment's images.
        environment: its name.

    Raises:
        UnknownNameError: there are no images of a camera.
        ForeignStoreError: images have another size, or actions lie outside of [-1, 1].
    """
    known = [name[4:] for name in store.array_names if name.startswith("rgb/")]
    for camera, size in cameras.items():
        if camera not in known:
            raise UnknownNameError(f"camera of {store.path}", camera, known)
        stored = store.array(f"rgb/{camera}").spec.row_shape[:2]
        if stored != size:
            raise ForeignStoreError(
                f"Expected images of {size[0]} x {size[1]} pixels of camera {camera!r}, which "
                f"{environment} draws, but those in {store.path} have {stored[0]} x {stored[1]} "
                "and can't be drawn again. Set env.resolution, or train with env=recorded."
            )
    actions = store.array("actions").read(0, store.num_steps)
    if np.abs(actions).max(initial=0.0) > 1.0:
        raise ForeignStoreError(
            f"Expected actions in [-1, 1], which {environment} takes, but {store.path} holds one "
            f"of size {np.abs(actions).max():g}. Train with env=recorded, which learns in the "
            "robot's own units, or scale them in the environment and in the store."
        )


def _check_sizes(store: DemonstrationStore, environment: EnvironmentDescription) -> None:
    """Refuse the demonstrations of a robot with other actions or joints.

    Raises:
        ForeignStoreError: a size differs.
    """
    if store.num_episodes == 0:
        return
    wanted = {
        "actions": environment.action_size,
        "proprioception": environment.proprioception_size,
    }
    stored = {name: int(store.array(name).spec.row_shape[0]) for name in wanted}
    differing = [name for name, size in wanted.items() if stored[name] != size]
    if differing:
        raise ForeignStoreError(
            f"Expected {', '.join(f'{k} of size {wanted[k]}' for k in differing)} for "
            f"{environment.name}, but those in {store.path} have size "
            f"{', '.join(str(stored[k]) for k in differing)}: they are another robot's. Train on "
            "them with env=recorded, which evaluates nothing, or name the environment of that "
            "robot."
        )
