"""What makes a store of demonstrations foreign, compared here for every reader.

A simulator's states fit one scene, a policy learns one task under one control rate, and images
under a camera's name come from one pose. Collecting, drawing, training and everything else that
reads a store checks it here first.
"""

from collections.abc import Mapping
from typing import Any

from egodtm_robot.core.errors import ForeignStoreError
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
        allow_foreign: accept all differences but those of cameras, whose images would be mixed.

    Raises:
        ForeignStoreError: something differs; the message names everything that does.
    """
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
