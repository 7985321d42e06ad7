"""Cameras of the kitchen: the views of FK1, one at the wrist, and free ones by configuration."""

from collections.abc import Sequence
from dataclasses import dataclass

from egodtm_robot.core.errors import UnknownNameError


@dataclass(frozen=True)
class Camera:
    """A camera fixed to a body.

    Attributes:
        name: how observations and stores call it.
        position: of the optical centre in the body's frame, metres.
        quaternion: (w, x, y, z) orientation in the body's frame; the camera looks along -z, y up.
        fovy: vertical field of view, degrees.
        body: name of the body it is fixed to; the world when empty.
    """

    name: str
    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]
    fovy: float = 45.0
    body: str = ""


KITCHEN_CAMERAS: dict[str, Camera] = {
    camera.name: camera
    for camera in (
        # FK1 of RoboHive: left_cam, right_cam, top_cam.
        Camera("left", (-1.4, -0.75, 3.0), (0.78, 0.49, -0.22, -0.32)),
        Camera("right", (1.4, -0.75, 3.0), (0.76, 0.5, 0.21, 0.35)),
        Camera("top", (-0.3, -0.95, 3.5), (0.92388, 0.38268, 0.0, 0.0)),
        # Looks along the fingers from behind the hand.
        Camera("wrist", (0.07, 0.0, 0.08), (0.0, 0.70711, 0.70711, 0.0), 75.0, "panda0_link7"),
    )
}


def resolve_cameras(cameras: Sequence["str | Camera"]) -> tuple[Camera, ...]:
    """Named cameras looked up, free ones passed through.

    Raises:
        UnknownNameError: a name is not one of the kitchen's cameras.
    """
    resolved = []
    for camera in cameras:
        if isinstance(camera, Camera):
            resolved.append(camera)
        elif camera in KITCHEN_CAMERAS:
            resolved.append(KITCHEN_CAMERAS[camera])
        else:
            raise UnknownNameError("camera", camera, tuple(KITCHEN_CAMERAS))
    return tuple(resolved)
