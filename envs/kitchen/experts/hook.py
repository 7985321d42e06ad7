"""Opening a hinged door: take its bar handle between the fingers and draw it along its arc."""

from dataclasses import dataclass

import numpy as np

from envs.kitchen.experts.geometry import pointing, ramp, rotation_z
from envs.kitchen.experts.scene_view import OPEN, HandTarget, SceneView


@dataclass(frozen=True)
class HookDoor:
    """Pulls a door open by a vertical bar, turned to one side so that a finger hooks behind it.

    Attributes:
        site: of the handle.
        joint: of the door; it opens towards negative angles.
        opened: angle at which to stop pulling, radians, positive.
        yaw: of the hand to the left when the door is shut, radians.
        yaw_per_angle: how much further the hand turns with the door.
        pitch: of the hand upwards, radians.
        height: of the hand over the handle's middle, meters.
        depth: of the end effector past the handle, meters.
        standoff: how far before the handle the hand lines up, meters.
        aligned: lateral error up to which the hand goes in, meters.
        astray: lateral error from which the hand stays out, meters.
        lead: how far ahead of the door the hand pulls, radians.
        grip: opening of each finger around the handle, meters; with OPEN the fingers never close
            and one of them pulls as a hook.
        rotation_weights: see :class:`HandTarget`.
    """

    site: str
    joint: str
    opened: float
    yaw: float
    yaw_per_angle: float
    pitch: float
    height: float = 0.0
    depth: float = 0.0
    standoff: float = 0.11
    aligned: float = 0.012
    astray: float = 0.04
    lead: float = 0.4
    grip: float = 0.0
    rotation_weights: tuple[float, float, float] = (0.15, 0.15, 0.4)

    def rotation(self, angle: float) -> np.ndarray:
        """Rotation of the hand, (3, 3), when the door stands open by ``angle`` radians."""
        return pointing(self.yaw + self.yaw_per_angle * min(angle, 1.0), self.pitch)

    def target(self, scene: SceneView) -> HandTarget:
        """Lines up before the handle, goes in as the error shrinks, pulls once it is in."""
        handle = scene.site(self.site)
        angle = -scene.joint(self.joint)
        rotation = self.rotation(angle)
        across, sideways, ahead = rotation.T

        offset = scene.hand - handle - np.array([0.0, 0.0, self.height])
        lateral, along = float(offset @ sideways), float(offset @ ahead)
        error = float(np.hypot(lateral, 0.4 * (offset @ across)))
        out = ramp(error, self.aligned, self.astray)
        inside = (1.0 - out) * ramp(along, self.depth - 0.05, self.depth - 0.02)
        # Beside the bar with the fingers past it: leave straight before lining up again.
        beside = ramp(abs(lateral), 0.03, 0.05) * ramp(along, -0.08, -0.05)

        # Fingers that close must have closed before the pull begins.
        opening = float(scene.fingers.mean())
        held = ramp(opening, OPEN - 0.006, OPEN - 0.014) if self.grip < OPEN else 1.0
        lead = inside * held * min(self.lead, max(self.opened - angle, 0.0))
        hinge = scene.anchor(self.joint)
        pulled = hinge + rotation_z(-lead) @ (handle - hinge)
        position = (
            pulled
            + np.array([0.0, 0.0, self.height])
            + (self.depth - self.standoff * out) * ahead
            + beside * lateral * sideways
        )
        return HandTarget(
            position,
            rotation,
            np.asarray(self.rotation_weights),
            OPEN + (self.grip - OPEN) * inside,
        )
