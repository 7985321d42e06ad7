"""Moving the kettle: reach under its handle with closed fingers, lift it and carry it along."""

from dataclasses import dataclass

import numpy as np

from envs.kitchen.experts.geometry import pointing, ramp
from envs.kitchen.experts.scene_view import HandTarget, SceneView

HANDLE_HEIGHT = 0.259
"""Of the kettle's handle over its foot, meters."""

AHEAD = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True)
class CarryKettle:
    """Carries the kettle on the closed fingers, which point up a little so that it stays on them.

    It hangs upright by its weight and is set down at its goal.

    Attributes:
        site: of the handle, which lies along x.
        pitch: of the hand upwards, radians.
        depth: of the end effector along +y relative to the handle, meters.
        below: of the end effector under the handle while going in, meters.
        loaded: of the end effector under the handle when it carries it, meters.
        standoff: how far before the handle the hand lines up, meters.
        aligned: error across +y up to which the hand goes in, meters.
        astray: such error from which the hand stays out, meters.
        lift: how high the kettle is carried, meters.
        lead: how far ahead of the kettle the hand moves, meters.
        short: how far before the goal to put it, meters: it swings on as the hand stops.
        placed: largest distance to the goal along x or y at which to begin to set the kettle
            down, and at which it is let be, meters.
        rotation_weights: see :class:`HandTarget`.
    """

    site: str = "kettle_site"
    pitch: float = 0.5
    depth: float = -0.01
    below: float = 0.08
    loaded: float = 0.05
    standoff: float = 0.14
    aligned: float = 0.025
    astray: float = 0.055
    lift: float = 0.02
    lead: float = 0.06
    short: float = 0.02
    placed: tuple[float, float] = (0.05, 0.038)
    rotation_weights: tuple[float, float, float] = (0.1, 0.1, 0.2)

    def target(self, scene: SceneView) -> HandTarget:
        """Lines up before the handle, goes in under it, lifts, then carries."""
        handle = scene.site(self.site)
        offset = scene.hand - handle
        # Any height from just under the handle to the middle of the gap will do.
        height_error = max(float(offset[2]) + self.loaded - 0.01, -self.below - float(offset[2]), 0)
        out = ramp(float(np.hypot(offset[0], height_error)), self.aligned, self.astray)
        under = (1.0 - out) * ramp(float(offset[1]), self.depth - 0.045, self.depth - 0.02)
        # The fingers are past the handle but not under it: leave before lining up again.
        stuck = out * ramp(float(offset[1]), -0.11, -0.08)

        goal = scene.kettle_goal
        carried = under * ramp(float(scene.kettle[2] - goal[2]), 0.006, 0.016)
        to_goal = np.append((goal - scene.kettle)[:2], 0.0) - self.short * AHEAD
        distance = max(float(np.linalg.norm(to_goal)), 1e-9)
        carry = carried * min(self.lead, distance) / distance * to_goal

        waiting = handle[2] - self.below
        placed = ramp(float(np.abs((goal - scene.kettle)[:2]).max()), *self.placed)
        carrying = goal[2] + HANDLE_HEIGHT + self.lift - self.loaded - 2.0 * self.lift * placed
        height = (1.0 - under) * waiting + under * carrying
        position = np.array(
            [
                handle[0] + stuck * offset[0],
                handle[1],
                (1.0 - stuck) * height + stuck * scene.hand[2],
            ]
        )
        position += (self.depth - self.standoff * out) * AHEAD + carry
        # At its goal the kettle is let be.
        position[1] += placed * (scene.hand[1] - position[1])
        return HandTarget(
            position, pointing(0.0, self.pitch), np.asarray(self.rotation_weights), 0.0
        )
