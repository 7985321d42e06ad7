"""Cameras of the kitchen: the views of FK1 and of R3M, and one at the wrist."""

from envs.cameras import Camera

KITCHEN_CAMERAS: dict[str, Camera] = {
    camera.name: camera
    for camera in (
        # FK1 of RoboHive: left_cam, right_cam, top_cam.
        Camera("left", (-1.4, -0.75, 3.0), (0.78, 0.49, -0.22, -0.32)),
        Camera("right", (1.4, -0.75, 3.0), (0.76, 0.5, 0.21, 0.35)),
        Camera("top", (-0.3, -0.95, 3.5), (0.92388, 0.38268, 0.0, 0.0)),
        # Beside the hand, 12 cm off the axis on the side of the palm's face away from the kitchen
        # at rest; sees both fingers, what is between them and what lies ahead.
        Camera(
            "wrist",
            (-0.08485, 0.08485, 0.1),
            (-0.12667, -0.36111, 0.87180, 0.30581),
            70.0,
            "panda0_link7",
        ),
        # FK1's own at the wrist, Franka_wrist_cam.
        Camera(
            "wrist_fk1",
            (0.05, -0.05, 0.15),
            (0.126001, 0.911084, 0.388578, 0.055290),
            body="panda0_link7",
        ),
        # R3M's, of RoboHive v0.0.5: they stand still and turn as the kitchen moves.
        Camera("left_cap2", (-1.4, -1.0, 1.8), (1.0, 0.0, 0.0, 0.0), target="knob 1"),
        Camera("right_cap2", (1.3, -0.7, 3.4), (1.0, 0.0, 0.0, 0.0), target="microwave"),
    )
}
