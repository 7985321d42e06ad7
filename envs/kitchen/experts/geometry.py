"""Rotations and smooth ramps that the experts' strategies are made of."""

import numpy as np

FORWARD = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
"""Hand that points into the kitchen (+y), fingers opening along x, palm's thickness along z."""


def rotation_x(angle: float) -> np.ndarray:
    """Rotation about the world's x axis, radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def rotation_y(angle: float) -> np.ndarray:
    """Rotation about the world's y axis, radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def rotation_z(angle: float) -> np.ndarray:
    """Rotation about the world's z axis, radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def pointing(yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """Hand turned to the left by ``yaw``, up by ``pitch``, about its pointing axis by ``roll``."""
    return rotation_z(yaw) @ rotation_x(pitch) @ rotation_y(roll) @ FORWARD


def ramp(value: float, start: float, end: float) -> float:
    """0 up to ``start``, 1 from ``end`` on, smooth in between; ``end`` may be below ``start``."""
    t = min(max((value - start) / (end - start), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def pursue(route: np.ndarray, point: np.ndarray, ahead: float) -> tuple[np.ndarray, float]:
    """Where to head for in order to follow a route of straight legs.

    Args:
        route: its corners, (K, D), in order.
        point: where one is, (D,).
        ahead: how far along the route to look, meters; a point beside the route looks as much less
            far as it is off, so that it comes back first.

    Returns:
        The point of the route to head for, (D,), and what is left of the route from the place that
        is nearest to ``point``, meters.
    """
    legs = np.diff(route, axis=0)
    lengths = np.linalg.norm(legs, axis=1)
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    shares = np.clip(((point - route[:-1]) * legs).sum(1) / lengths**2, 0.0, 1.0)
    off = np.linalg.norm(route[:-1] + shares[:, None] * legs - point, axis=1)
    leg = int(off.argmin())
    here = starts[leg] + shares[leg] * lengths[leg]
    goal = here + max(ahead - 0.5 * float(off[leg]), 0.0)
    place = np.array([np.interp(goal, starts, corner) for corner in route.T])
    return place, float(starts[-1] - here)
