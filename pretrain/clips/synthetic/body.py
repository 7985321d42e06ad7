"""The wearer's arms and head: what carries the hands, and where the camera looks from."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pretrain.clips.synthetic import hand
from pretrain.clips.synthetic.actions import HandPath, Performance
from pretrain.clips.synthetic.hand import Side, sign
from pretrain.clips.synthetic.poses import about, cross, frame, inverse, pose, transform, unit
from pretrain.clips.synthetic.room import Room
from pretrain.clips.synthetic.stage import Part, Thing

_FOREARM, _UPPER_ARM = 0.262, 0.30
_SHOULDER_HEIGHT = 0.42


def shoulder(side: Side, stand: tuple[float, float]) -> np.ndarray:
    """Where a shoulder is, (3,)."""
    return np.array([stand[0] + sign(side) * 0.19, stand[1], _SHOULDER_HEIGHT])


def arms(room: Room, side: Side, path: HandPath, stand: tuple[float, float]) -> list[Thing]:
    """Forearm, upper arm and sleeve of a hand."""
    wrist = path.wrist[:, :3, 3]
    shoulders = np.broadcast_to(shoulder(side, stand), wrist.shape).copy()
    span = wrist - shoulders
    distance = np.linalg.norm(span, axis=1, keepdims=True)
    # Who cannot reach leans over.
    longest = 0.97 * (_FOREARM + _UPPER_ARM)
    shoulders += span * np.maximum(0.0, 1 - longest / distance)
    span = wrist - shoulders
    distance = np.linalg.norm(span, axis=1, keepdims=True)
    toward = span / distance
    # The elbow hangs down and outward, and lies behind the hand where the hand points.
    pole = np.array([sign(side) * 0.6, -0.25, -0.9]) + 0.5 * path.wrist[:, :3, 2]
    pole = unit(pole - toward * (pole * toward).sum(1, keepdims=True))
    along = (_UPPER_ARM**2 - _FOREARM**2 + distance**2) / (2 * distance)
    aside = np.sqrt(np.maximum(_UPPER_ARM**2 - along**2, 0.0))
    elbow = shoulders + along * toward + aside * pole
    z = unit(elbow - wrist)
    lower = pose(_towards(z, path.wrist[:, :3, 0]), wrist - 0.012 * z)
    upper = pose(_towards(unit(shoulders - elbow), path.wrist[:, :3, 0]), elbow)
    skin = (*room.skin, 1.0)
    nothing = (0.1, 0.1, 0.1)
    things = [Thing([Part("forearm", nothing, np.eye(4), -1, skin)], lower, label="person")]
    if room.sleeve is None:
        part = Part("upper arm", nothing, np.eye(4), -1, skin)
        things.append(Thing([part], upper, label="person"))
    else:
        paint = room.sleeve
        name = f"sleeve {room.sleeve_length}"
        for shape, poses in ((name, lower), ("upper sleeve", upper)):
            part = Part(shape, nothing, np.eye(4), paint.surface, paint.color)
            things.append(Thing([part], poses, label="person"))
    return things


def _towards(z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) with that z, and x as near to the given one as can be."""
    y = unit(cross(z, x))
    return np.stack([cross(y, z), y, z], axis=-1)


def resting_hand(
    rng: np.random.Generator, side: Side, stand: tuple[float, float], count: int
) -> HandPath:
    """A hand that lies on the counter's edge and moves a little."""
    mirror = sign(side)
    point = np.array([stand[0] + mirror * rng.uniform(0.16, 0.26), rng.uniform(0.05, 0.12), 0.03])
    points = point + np.cumsum(rng.normal(0, 0.006, (count, 3)), axis=0) * [1, 1, 0.3]
    rotation = about("z", mirror * rng.uniform(0.0, 0.45)) @ frame(
        np.array([-mirror * 0.1, 1.0, -0.08]), np.array([mirror * 0.15, 0.0, 1.0])
    )
    curl = rng.uniform(0.6, 1.5)
    position = points - rotation @ np.array([0.0, 0.0, -0.09])
    return HandPath(
        wrist=pose(np.broadcast_to(rotation, (count, 3, 3)), position),
        closure=np.tile(hand.relaxed() * curl, (count, 1)),
        opposition=np.full(count, 0.3),
        spread=np.full(count, 0.4),
        contact=np.zeros(count, bool),
    )


def holding_hand(
    rng: np.random.Generator, side: Side, stand: tuple[float, float], extent: np.ndarray, count: int
) -> tuple[HandPath, np.ndarray]:
    """A hand that holds something upright above the counter, and the poses (T, 4, 4) of that.

    Args:
        rng: chances.
        side: which hand.
        stand: where the wearer stands.
        extent: width, depth and height of what is held, meters.
        count: frames.
    """
    mirror = sign(side)
    start = np.array(
        [
            stand[0] + mirror * rng.uniform(0.16, 0.26),
            rng.uniform(0.04, 0.14),
            extent[2] / 2 + rng.uniform(0.03, 0.12),
        ]
    )
    points = start + np.cumsum(rng.normal(0, 0.006, (count, 3)), axis=0)
    grip = hand.wrap(side, float(np.clip(min(extent[:2]) / 2, 0.012, 0.046)))
    rotation = frame(np.array([-mirror * 0.4, 0.9, -0.1]), np.array([mirror * 0.9, 0.35, 0.25]))
    position = points - rotation @ grip.center
    path = HandPath(
        wrist=pose(np.broadcast_to(rotation, (count, 3, 3)), position),
        closure=np.tile(grip.closure, (count, 1)),
        opposition=np.full(count, grip.opposition),
        spread=np.full(count, grip.spread),
        contact=np.ones(count, bool),
    )
    yaw = np.pi / 2 if extent[0] > extent[1] else 0.0
    return path, pose(about("z", yaw), points)


View = Literal["head", "shoulder", "wrist", "third"]


@dataclass
class Head:
    """Where the camera is.

    Attributes:
        poses: float (T, 4, 4).
        field_of_view: vertical, degrees.
        view: what carries it.
        worn: the arm that it is worn on, if it is.
    """

    poses: np.ndarray
    field_of_view: float
    view: View
    worn: Side | None = None


def project(poses: np.ndarray, field_of_view: float, points: np.ndarray) -> np.ndarray:
    """Image coordinates (T, n, 2), 0 to 1 from left and top, of points (T, n, 3); NaN behind."""
    local = transform(inverse(poses)[:, None], points)
    scale = np.tan(np.deg2rad(field_of_view) / 2)
    depth = np.where(local[..., 2] < -0.02, -local[..., 2], np.nan)
    return np.stack(
        [0.5 + local[..., 0] / depth / scale / 2, 0.5 - local[..., 1] / depth / scale / 2], axis=-1
    )


def watch(
    rng: np.random.Generator,
    performance: Performance,
    points: np.ndarray,
    shoulder_share: float,
    close: bool,
) -> Head | None:
    """A camera that has all points in view in all frames.

    Args:
        rng: chances.
        performance: what is watched.
        points: float (T, n, 3) that must be seen.
        shoulder_share: how often the camera stands back, as over the wearer's shoulder.
        close: bend down to it, as one does for small things.

    Returns:
        The first of some random ones that frames the points; None if none does.
    """
    count = len(points)
    view: View = "shoulder" if rng.random() < shoulder_share * (0.4 if close else 1) else "head"
    stand = performance.stand
    focus = performance.focus
    shoulders = np.array([shoulder(side, stand) for side in performance.hands])
    for attempt in range(34):
        wider = min(attempt * 1.2, 22.0)
        if close:
            back = rng.uniform(0.34, 0.55) if view == "head" else rng.uniform(0.55, 0.8)
            eye = focus.mean(0) + np.array([rng.uniform(-0.2, 0.2), -back, rng.uniform(0.1, 0.32)])
            field_of_view = rng.uniform(44, 60) + wider
        elif view == "head":
            eye = np.array(
                [
                    stand[0] + rng.normal(0, 0.04),
                    stand[1] + rng.uniform(0.0, 0.14),
                    rng.uniform(0.36, 0.66),
                ]
            )
            field_of_view = rng.uniform(56, 74) + wider
        else:
            eye = np.array(
                [
                    stand[0] + rng.uniform(-0.65, 0.65),
                    stand[1] - rng.uniform(0.2, 1.1),
                    rng.uniform(0.35, 0.95),
                ]
            )
            field_of_view = rng.uniform(40, 60) + wider
        middle = (points.min(axis=(0, 1)) + points.max(axis=(0, 1))) / 2
        aim = 0.65 * middle + 0.35 * focus + rng.normal(0, 0.05, 3)
        eyes = eye + drift(rng, count, 0.018)
        gaze = aim + drift(rng, count, 0.025)
        rotation = frame(gaze - eyes, np.array([0.0, 0.0, 1.0]))
        rotation = rotation @ about("z", rng.normal(0, 0.05) + drift(rng, count, 0.012)[:, 0])
        poses = pose(rotation, eyes)
        seen = project(poses, field_of_view, points)
        if not ((seen > 0.05).all() and (seen < 0.95).all()):
            continue
        # There is no trunk: arms that end in mid-air are a last resort.
        ends = project(poses, field_of_view, np.broadcast_to(shoulders, (count, *shoulders.shape)))
        if attempt >= 22 or not ((ends > 0.0) & (ends < 1.0)).all(-1).any():
            return Head(poses, float(field_of_view), view)
    return None


def drift(rng: np.random.Generator, count: int, size: float) -> np.ndarray:
    """A smooth random way (T, 3)."""
    speed = rng.normal(0, size, 3)
    bend = rng.normal(0, size * 0.5, 3)
    time = np.linspace(-0.5, 0.5, count)[:, None] if count > 1 else np.zeros((1, 1))
    return time * 2 * speed + (time**2 - 0.1) * 2 * bend + rng.normal(0, size * 0.12, (count, 3))
