"""Moving a lever or a bar sideways: bring the closed fingers behind it and push."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from envs.kitchen.experts.geometry import pointing, ramp
from envs.kitchen.experts.scene_view import FINGERTIP, HandTarget, SceneView


@dataclass(frozen=True)
class Contact:
    """Where and whereto a lever is pushed in its present position.

    Attributes:
        point: on the lever, world meters, (3,).
        direction: unit vector of the push, (3,).
        remaining: how far to go on pushing, meters.
    """

    point: np.ndarray
    direction: np.ndarray
    remaining: float


@dataclass(frozen=True)
class PushLever:
    """Pushes something that stands out of the kitchen's front.

    Attributes:
        contact: finds the contact in the present state.
        behind: distance of the fingertip behind the contact point when touching, meters.
        depth: of the fingertip relative to the contact point along +y, meters.
        clearance: further distance along -y at which the hand passes freely, meters.
        margin: extra distance behind the contact while going in, meters.
        lead: how far beyond the touching position the hand pushes, meters.
        hold: while pushing, how many times over errors across the push are corrected, since the
            push itself would drown them.
        yaw: of the hand to the left, radians; it makes up for the fingers' taper, which would wedge
            against the lever's edge.
        pitch: of the hand upwards, radians.
        across_tolerance: error to the side of the push up to which the hand goes in, and from
            which it stays out, meters.
        rotation_weights: see :class:`HandTarget`.
        opening: of each finger, meters.
    """

    contact: Callable[[SceneView], Contact]
    behind: float
    depth: float
    clearance: float = 0.07
    margin: float = 0.02
    lead: float = 0.07
    hold: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    across_tolerance: tuple[float, float] = (0.02, 0.05)
    rotation_weights: tuple[float, float, float] = (0.05, 0.05, 0.3)
    opening: float = 0.0

    def target(self, scene: SceneView) -> HandTarget:
        """Lines up behind the lever out of its way, goes in, pushes; past it, comes out again."""
        contact = self.contact(scene)
        rotation = pointing(self.yaw, self.pitch)
        ahead = np.array([0.0, 1.0, 0.0])
        push = contact.direction
        across = np.cross(push, ahead)

        # Coordinates relative to the touching position, which lies behind the lever.
        touching = contact.point - self.behind * push + self.depth * ahead
        offset = scene.fingertip - touching
        along, inwards, aside = (float(offset @ axis) for axis in (push, ahead, across))

        # 1 when the hand is not behind the lever (beyond it or beside it), 0 when it is.
        beyond = ramp(along, 0.004, 0.022)
        off = max(beyond, ramp(abs(aside), *self.across_tolerance))
        inside = ramp(inwards, -0.035, -0.012)
        pushing = (1.0 - off) * inside
        # While in but on the wrong side, come out before moving sideways.
        stuck = off * ramp(inwards, -self.clearance, -0.6 * self.clearance)

        wanted_along = pushing * min(self.lead, contact.remaining) - (1.0 - pushing) * self.margin
        wanted = (
            ((1.0 - stuck) * wanted_along + stuck * along) * push
            + (-self.clearance * off - pushing * self.hold * inwards) * ahead
            + (stuck * aside - pushing * self.hold * aside) * across
        )
        return HandTarget(
            touching + wanted - FINGERTIP * rotation[:, 2],
            rotation,
            np.asarray(self.rotation_weights),
            self.opening,
        )
