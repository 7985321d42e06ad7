"""Cameras of RoboHive's FK1: its own by their names, and ours at the wrist."""

from envs.cameras import Camera
from envs.kitchen.cameras import KITCHEN_CAMERAS

ADDED_CAMERAS: tuple[Camera, ...] = (KITCHEN_CAMERAS["wrist"],)
"""Cameras that RoboHive's model lacks."""

FK1_CAMERAS: dict[str, Camera] = {
    camera.name: camera
    for camera in (
        Camera("left_cam", (-1.4, -0.75, 3.0), (0.78, 0.49, -0.22, -0.32)),
        Camera("right_cam", (1.4, -0.75, 3.0), (0.76, 0.5, 0.21, 0.35)),
        # Turned by 0.785 rad about x, which is not quite 45 degrees.
        Camera("top_cam", (-0.3, -0.95, 3.5), (0.923956, 0.382499, 0.0, 0.0)),
        Camera(
            "Franka_wrist_cam",
            (0.05, -0.05, 0.15),
            (0.126001, 0.911084, 0.388578, 0.055290),
            body="panda0_link7",
        ),
        *ADDED_CAMERAS,
    )
}
"""By name; a test compares RoboHive's own with its model."""
