"""Moving the kettle: push it over the stove with the open fingers, low, against its front."""

from dataclasses import dataclass

import numpy as np

from envs.kitchen.experts.geometry import pointing, ramp
from envs.kitchen.experts.scene_view import HandTarget, SceneView

AHEAD = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True)
class PushKettle:
    """Pushes the kettle away from the robot, steering it towards its goal.

    The fingers are open, so that they touch at two points and the kettle does not turn, and they
    touch below the height at which it would tip.

    Attributes:
        behind: distance of the end effector from the kettle's middle when touching, metres.
        height: of the end effector over the kettle's foot, metres.
        clearance: further distance at which the hand passes freely, metres.
        lead: how far beyond the touching position the hand pushes, metres.
        pitch: of the hand upwards, radians.
        rotation_weights: see :class:`HandTarget`.
    """

    behind: float = 0.143
    height: float = 0.085
    clearance: float = 0.05
    lead: float = 0.06
    pitch: float = -1.5
    rotation_weights: tuple[float, float, float] = (0.1, 0.1, 0.3)
    opening: float = 0.04

    def target(self, scene: SceneView) -> HandTarget:
        """Lines up before the kettle, pushes once aligned, stops at the goal."""
        rotation = pointing(0.0, self.pitch)
        touching = scene.kettle - self.behind * AHEAD + np.array([0.0, 0.0, self.height])
        to_goal = (scene.kettle_goal - scene.kettle)[:2]
        offset = scene.hand - touching

        error = float(np.hypot(offset[0], offset[2]))
        out = ramp(error, 0.02, 0.05)
        remaining = float(to_goal[1])
        push = (1.0 - out) * ramp(float(offset[1]), -0.04, -0.015) * min(self.lead, remaining)
        # Sideways by the slope that leads to the goal, less steep close to it.
        slope = float(np.clip(to_goal[0] / (max(remaining, 0.0) + 0.05), -0.5, 0.5))
        # Over or beside the kettle: come back before lining up.
        stuck = out * ramp(float(offset[1]), -0.6 * self.clearance, -0.2 * self.clearance)
        position = touching + np.array(
            [
                push * slope + stuck * offset[0],
                push - self.clearance * out,
                stuck * max(offset[2], 0.0),
            ]
        )
        return HandTarget(position, rotation, np.asarray(self.rotation_weights), self.opening)
