"""Cameras of an environment: its own by name, and free ones described in the configuration."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import mujoco
import numpy as np

from egodtm_robot.core.errors import EgoDTMRobotError, UnknownNameError


@dataclass(frozen=True)
class Camera:
    """A camera fixed to a body, and turned with it or towards another.

    Attributes:
        name: how observations and stores call it.
        position: of the optical center in the body's frame, meters.
        quaternion: (w, x, y, z) orientation in the body's frame; the camera looks along -z, y up.
        fovy: vertical field of view, degrees.
        body: name of the body it is fixed to; the world when empty.
        target: name of the body whose middle it is turned to in every state, upright; its
            quaternion is then of no effect. Empty: it keeps its orientation.
    """

    name: str
    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]
    fovy: float = 45.0
    body: str = ""
    target: str = ""


class CameraError(EgoDTMRobotError, ValueError):
    """A free camera is incomplete or contradicts itself, or two cameras share a name."""


# Stores name the images of a camera by it.
_NAME = re.compile(r"(?=.{1,64}$)[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*")

_CAMERA_KEYS = ("name", "position", "quaternion", "look_at", "target", "fovy", "body")


CameraChoice: TypeAlias = "str | Camera | Mapping[str, Any]"
"""A camera's name, a camera, or the description of a free one."""


def resolve_cameras(
    cameras: Sequence[CameraChoice], known: Mapping[str, Camera]
) -> tuple[Camera, ...]:
    """Cameras from names, camera objects and mappings, in the given order.

    A mapping describes a free camera, as Hydra reads it from
    ``env.cameras=[left,{name: side, position: [1.5, 0.3, 2.2], look_at: [0, 0.4, 1.8]}]``: its
    ``name``, its ``position`` in meters, either its ``quaternion`` (w, x, y, z) or the point it
    should ``look_at`` (upright) or the body that is its ``target`` and that it is turned to in
    every state, and if wanted ``fovy`` in degrees and the ``body`` in whose frame all of that is
    meant.

    Args:
        cameras: what to resolve.
        known: the environment's own cameras by name.

    Raises:
        UnknownNameError: a name is not one of the environment's cameras, or a key is not known.
        CameraError: a description is incomplete, or two cameras share a name.
    """
    resolved: list[Camera] = []
    for camera in cameras:
        if isinstance(camera, str):
            if camera not in known:
                raise UnknownNameError("camera", camera, tuple(known))
            camera = known[camera]
        elif not isinstance(camera, Camera):
            camera = _free_camera(camera)
        if camera != known.get(camera.name, camera):
            raise CameraError(
                f"Expected a new name for a free camera, got {camera.name!r}, which is the name "
                "of one of the environment's own."
            )
        if camera.name in {other.name for other in resolved}:
            raise CameraError(f"Expected each camera once, got {camera.name!r} twice.")
        resolved.append(camera)
    return tuple(resolved)


def _free_camera(description: Mapping[str, Any]) -> Camera:
    if not isinstance(description, Mapping):
        raise CameraError(
            "Expected the name of a camera, or a mapping with the name and position of a free one, "
            f"got {description!r}."
        )
    for key in description:
        if key not in _CAMERA_KEYS:
            raise UnknownNameError("key of a camera", key, _CAMERA_KEYS)
    name = description.get("name")
    if not name or "position" not in description:
        raise CameraError(
            f"Expected a free camera with at least a name and a position, got {dict(description)}."
        )
    if not _NAME.fullmatch(str(name)):
        raise CameraError(
            "Expected a camera's name of at most 64 letters, digits, '_', '-' and '.', in parts "
            f"divided by '/', none of which begins with '.' or '-', got {str(name)[:80]!r}."
        )
    target = str(description.get("target") or "")
    both = "quaternion" in description and "look_at" in description
    if both or not (target or "quaternion" in description or "look_at" in description):
        raise CameraError(
            f"Expected either quaternion or look_at for the camera {name!r}, got "
            f"{'both' if both else 'neither'}."
        )
    position = _numbers(description, "position", 3)
    if "quaternion" in description:
        quaternion = _numbers(description, "quaternion", 4)
        if not any(quaternion):
            raise CameraError(f"Expected a quaternion other than zero for the camera {name!r}.")
    elif "look_at" in description:
        quaternion = look_at_quaternion(position, _numbers(description, "look_at", 3))
    else:
        quaternion = (1.0, 0.0, 0.0, 0.0)
    try:
        fovy = float(description.get("fovy", 45.0))
    except (TypeError, ValueError):
        fovy = math.nan
    if not 0.0 < fovy < 180.0:
        raise CameraError(
            f"Expected a fovy between 0 and 180 degrees for the camera {name!r}, got "
            f"{description['fovy']!r}."
        )
    x, y, z = position
    w, i, j, k = quaternion
    body = str(description.get("body") or "")
    return Camera(str(name), (x, y, z), (w, i, j, k), fovy, body, target)


def _numbers(description: Mapping[str, Any], key: str, count: int) -> tuple[float, ...]:
    try:
        values = np.asarray(list(description[key]), np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (count,) or not np.isfinite(values).all():
        raise CameraError(
            f"Expected {count} finite numbers as {key} of the camera {description['name']!r}, "
            f"got {description[key]}."
        )
    return tuple(values.tolist())


def look_at_quaternion(position: Sequence[float], target: Sequence[float]) -> tuple[float, ...]:
    """Orientation (w, x, y, z) of a camera at ``position`` that sees ``target`` in its middle.

    The picture's upper edge is towards +z; straight up or down it is towards +y.

    Raises:
        CameraError: position and target are the same.
    """
    back = np.asarray(position, np.float64) - np.asarray(target, np.float64)
    distance = np.linalg.norm(back)
    if distance < 1e-9:
        raise CameraError(f"Expected a look_at other than the camera's position, {position}.")
    back /= distance
    right = np.cross([0.0, 0.0, 1.0], back)
    if np.linalg.norm(right) < 1e-6:
        right = np.array([1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    quaternion = np.empty(4)
    rotation = np.stack([right, np.cross(back, right), back], axis=1)
    mujoco.mju_mat2Quat(quaternion, rotation.ravel())
    return tuple(quaternion.tolist())
