"""Two things in a row: open a door, let go of it, then do something else."""

from dataclasses import dataclass, replace

import numpy as np

from envs.kitchen.experts.geometry import ramp
from envs.kitchen.experts.hook import HookDoor
from envs.kitchen.experts.scene_view import HandTarget, SceneView, Strategy, blend

SWING_BACK = 0.04
"""How far a door is opened beyond the angle at which it may be left, radians."""


@dataclass(frozen=True)
class OpenThen:
    """Opens a door; once it stands open, lets go, backs off and follows another strategy.

    Attributes:
        door: how to open the door.
        released: angle from which the hand lets go, radians, positive.
        following: what to do after that.
        clearance: distance before the handle from which the hand moves freely, meters.
    """

    door: HookDoor
    released: float
    following: Strategy
    clearance: float = 0.18

    def target(self, scene: SceneView) -> HandTarget:
        """Depends on the door's angle and, once it is open, on the hand's distance from it."""
        angle = -scene.joint(self.door.joint)
        rotation = self.door.rotation(angle)
        across, sideways, ahead = rotation.T
        offset = scene.hand - scene.site(self.door.site) - np.array([0.0, 0.0, self.door.height])
        lateral, along = abs(float(offset @ sideways)), float(offset @ ahead)

        # With the fingers shut about the handle go on a little further than needed, so that the
        # door may swing back as they open.
        shut = (
            ramp(float(scene.fingers.mean()), 0.035, 0.028)
            * ramp(along, -0.05, -0.03)
            * ramp(lateral, 0.05, 0.035)
        )
        if angle < self.released + SWING_BACK * shut:
            return self.door.target(scene)
        following = self.following.target(scene)
        # 1 while the fingers are about the handle, 0 once they are clear of it.
        around = (
            ramp(along, -self.clearance, -0.75 * self.clearance)
            * ramp(lateral, 0.2, 0.14)
            * ramp(abs(float(offset @ across)), 0.3, 0.22)
        )
        backing_off = replace(
            following,
            position=scene.hand - 0.08 * ahead,
            rotation=rotation,
            opening=0.04,
        )
        return blend(following, backing_off, around)
