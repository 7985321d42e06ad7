"""Opening a hinged door whose handle leads out of reach: draw it ajar, then push it from inside."""

from dataclasses import dataclass

import numpy as np

from envs.kitchen.experts.geometry import pointing, pursue, ramp, rotation_z
from envs.kitchen.experts.scene_view import HandTarget, SceneView

Place = tuple[float, float]
"""In the door's own frame, meters: along the leaf from the hinge, and into the cupboard."""


@dataclass(frozen=True)
class OpenFromInside:
    """Draws a door ajar by its bar handle, goes round its free edge and pushes its inner face.

    The closed fingers act as one thin finger. It goes in beside the bar, on the side of the free
    edge, and draws with its flank. The inner face near the free edge stays nearer to the robot than
    the bar does, which is why the second half is done from there.

    Attributes:
        site: of the handle, an upright bar.
        joint: of the door; it opens towards negative angles.
        opened: angle at which to stop pushing, radians, positive.
        ajar: angle from which the hand lets go of the handle, radians.
        kept_ajar: how far the door may fall shut again while the hand goes round, radians.
        height: of the fingertip over the handle's middle, meters.
        before: place before the door that the fingertip comes from.
        beside: place beside the bar and behind it.
        drawn: where the fingertip presses while it draws, relative to the bar.
        around: places round the free edge.
        within: place at the inner face.
        behind: how far behind the bar's middle the fingertip must be to draw, meters.
        ahead: how far along its way the hand looks, meters.
        lead: how far ahead of the door the hand draws and pushes, radians.
        yaw: of the hand to the left when the door is shut, radians.
        yaw_per_angle: how much further the hand turns with the door.
        pitch: of the hand upwards, radians.
        roll: of the hand about the direction in which the fingers point, radians.
        rotation_weights: see :class:`HandTarget`.
    """

    site: str
    joint: str
    opened: float = 1.3
    ajar: float = 0.36
    kept_ajar: float = 0.2
    height: float = -0.13
    before: Place = (0.38, -0.22)
    beside: Place = (0.355, -0.09)
    drawn: Place = (0.013, 0.015)
    around: tuple[Place, ...] = ((0.42, -0.12), (0.41, 0.05))
    within: Place = (0.35, 0.03)
    behind: float = 0.005
    ahead: float = 0.1
    lead: float = 0.35
    yaw: float = 0.5
    yaw_per_angle: float = 0.3
    pitch: float = 0.3
    roll: float = -1.57
    rotation_weights: tuple[float, float, float] = (0.05, 0.05, 0.05)

    def target(self, scene: SceneView) -> HandTarget:
        """Depends on the door's angle and on where the fingertip is relative to the door."""
        angle = -scene.joint(self.joint)
        hinge = scene.anchor(self.joint)
        to_door = rotation_z(angle)
        tip = to_door @ (scene.fingertip - hinge)
        bar = to_door @ (scene.site(self.site) - hinge)
        height = float(bar[2]) + self.height

        inside = tip[1] > 0.015 and tip[0] < self.around[0][0] + 0.03 and angle > 0.15
        # Once the hand has left the handle, a door that it brushes against does not call it back.
        ajar = self.ajar - self.kept_ajar * ramp(float(tip[0] - bar[0]), 0.043, 0.063)
        if inside or angle >= ajar:
            goal, lead = self._go_round(tip, height)
            lead = min(lead, max(self.opened - angle, 0.0))
        else:
            goal, lead = self._draw(tip, bar, height)
        rotation = pointing(self.yaw + self.yaw_per_angle * min(angle, 1.2), self.pitch, self.roll)
        return HandTarget(
            hinge + rotation_z(-angle - lead) @ goal + scene.hand - scene.fingertip,
            rotation,
            np.asarray(self.rotation_weights),
            0.0,
        )

    def _draw(self, tip: np.ndarray, bar: np.ndarray, height: float) -> tuple[np.ndarray, float]:
        """Goes in beside the bar; draws when it is in. Returns a place (3,) and the lead."""
        route = np.array([(*self.before, height), (*self.beside, height)])
        goal, _ = pursue(route, tip, self.ahead)
        along, into = float(tip[0] - bar[0]), float(tip[1] - bar[1])
        # In front of the bar: go back to its side first.
        blocked = ramp(along, 0.045, 0.025) * ramp(into, -0.012, -0.028) * ramp(into, -0.13, -0.08)
        clear = np.array([self.beside[0] + 0.03, min(tip[1] - 0.01, bar[1] - 0.04), height])
        goal = (1.0 - blocked) * goal + blocked * clear

        deep = ramp(into, self.behind - 0.02, self.behind)
        deep *= ramp(float(tip[0]), self.beside[0] + 0.06, self.beside[0] + 0.03)
        touching = ramp(float(np.hypot(along, into)), 0.065, 0.045)
        pressed = np.array([bar[0] + self.drawn[0], bar[1] + self.drawn[1], height])
        return (1.0 - deep) * goal + deep * pressed, deep * touching * self.lead

    def _go_round(self, tip: np.ndarray, height: float) -> tuple[np.ndarray, float]:
        """Round the free edge to the inner face, to push. Returns a place (3,) and the lead."""
        places = (self.beside, *self.around, self.within)
        route = np.array([(*place, height) for place in places])
        goal, left = pursue(route, tip, self.ahead)
        return goal, self.lead * ramp(left, 0.06, 0.02)
