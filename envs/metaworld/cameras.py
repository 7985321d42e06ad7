"""Cameras of Meta-World's scenes: its own, and one that stands upright."""

from envs.cameras import Camera

ADDED_CAMERAS: tuple[Camera, ...] = (
    # Meta-World's corner4 upright: from the front right onto the table.
    Camera("side", (0.75, 0.075, 0.7), (0.765363, 0.434937, 0.262667, 0.395038), 60.0),
)
"""Cameras that are added to Meta-World's model."""

METAWORLD_CAMERAS: dict[str, Camera] = {
    camera.name: camera
    for camera in (
        *ADDED_CAMERAS,
        Camera("topview", (0.0, 0.5, 1.5), (1.0, 0.0, 0.0, 0.0)),
        # The corner cameras see the scene upside down.
        Camera("corner", (-1.1, -0.4, 0.6), (0.305208, -0.230856, -0.557335, 0.736838)),
        Camera("corner2", (1.3, -0.2, 1.1), (-0.395038, 0.262667, -0.434937, 0.765363), 60.0),
        Camera("corner3", (0.9, 0.0, 1.5), (-0.494554, 0.105737, -0.255944, 0.82385)),
        Camera("corner4", (0.75, 0.075, 0.7), (-0.395038, 0.262667, -0.434937, 0.765363), 60.0),
        # These two follow the hand and keep their orientation in the world.
        Camera("behindGripper", (0.0, 0.0, -0.5), (0.0, 1.0, 0.0, 0.0), 60.0, "hand"),
        Camera("gripperPOV", (0.04, -0.06, 0.0), (-0.609711, -0.792624, 0.0, 0.0), 90.0, "hand"),
    )
}
"""By name. Meta-World's own are as in its models of the tested version; a test compares them."""
