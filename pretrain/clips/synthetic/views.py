"""Views beside the wearer's own: a camera worn on an acting arm, and one that someone else holds.

A robot's policy mostly looks from its wrist. A camera on a human forearm sees much of what that one
sees: what the hand comes to, near and growing, its own fingers, and a wide range of depth. Captions
keep their words: a direction is only told where left, right, away and toward mean in the image what
they mean to the wearer.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np

from egodtm_robot.core.errors import ConfigurationError
from pretrain.clips.synthetic.actions import HandPath, Performance
from pretrain.clips.synthetic.body import Head, drift, project, shoulder
from pretrain.clips.synthetic.furniture import Paint, rod
from pretrain.clips.synthetic.hand import SIDES, Side
from pretrain.clips.synthetic.poses import about, frame, pose, unit
from pretrain.clips.synthetic.room import Room
from pretrain.clips.synthetic.stage import Part, Thing

ViewKind = Literal["head", "wrist", "third"]

_UP = np.array([0.0, 0.0, 1.0])

_MEANT = 0.8
"""Cosine between a direction to the wearer and in the image from which on they are the same."""

_TOLD = {
    "left": np.array([-1.0, 0.0, 0.0]),
    "right": np.array([1.0, 0.0, 0.0]),
    "away": np.array([0.0, 1.0, 0.0]),
    "toward": np.array([0.0, -1.0, 0.0]),
}


@dataclass
class ViewsConfig:
    """How often each view is drawn: weights, of which at least one is above 0."""

    head: float = 1.0
    """From the wearer's head, or (``shoulder_share`` of these clips) from behind the shoulder."""

    wrist: float = 0.0
    """From a camera worn on an acting forearm, above the wrist, looking along the hand."""

    third: float = 0.0
    """From beside the person, who is in the picture."""

    def __post_init__(self) -> None:
        weights = dataclasses.astuple(self)
        if not (min(weights) >= 0 and 0 < sum(weights) < np.inf):
            raise ConfigurationError(
                "Expected weights of the views head, wrist and third of 0 or more, one of them "
                f"above 0, got {self.head}, {self.wrist} and {self.third}."
            )

    def choose(self, rng: np.random.Generator) -> ViewKind:
        """One of the views, by their weights."""
        names: tuple[ViewKind, ...] = ("head", "wrist", "third")
        weights = np.array(dataclasses.astuple(self))
        return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def come_from_afar(rng: np.random.Generator, performance: Performance) -> Performance:
    """The same action by hands that come from farther away, and withdraw as far.

    From the wrist, the way to the thing is most of what there is to see.
    """
    factor = rng.uniform(1.2, 3.2)
    hands: dict[Side, HandPath] = {}
    for side, path in performance.hands.items():
        touching = np.flatnonzero(path.contact)
        wrist = path.wrist.copy()
        if len(touching):
            first, last = touching[0], touching[-1]
            for index in range(len(wrist)):
                if first <= index <= last:
                    continue
                held = path.wrist[first if index < first else last, :3, 3]
                wrist[index, :3, 3] += (factor - 1) * (wrist[index, :3, 3] - held)
        hands[side] = dataclasses.replace(path, wrist=wrist)
    return dataclasses.replace(performance, hands=hands)


def wear(rng: np.random.Generator, performance: Performance) -> Head | None:
    """A camera on one of the acting forearms.

    It stays on top of the arm, whichever way the palm faces, and shakes a little with its strap.

    Args:
        rng: chances.
        performance: what is done.

    Returns:
        None where the arm points so far aside that the caption's direction would be another one.
    """
    sides = list(performance.hands)
    side = sides[int(rng.integers(len(sides)))]
    wrist = performance.hands[side].wrist
    count = len(wrist)
    fingers = -wrist[:, :3, 2]
    above = unit(_UP - fingers * (fingers @ _UP)[:, None])
    right = np.cross(fingers, above)
    back, height = rng.uniform(0.02, 0.10), rng.uniform(0.09, 0.16)
    aside = rng.normal(0, 0.025)
    eyes = wrist[:, :3, 3] - back * fingers + height * above + aside * right
    eyes = eyes + drift(rng, count, 0.004)
    tilt = np.deg2rad(rng.uniform(10, 34))
    turn = rng.normal(0, 0.06)
    gaze = np.cos(tilt) * fingers - np.sin(tilt) * above + turn * right
    rotation = frame(gaze, above)
    roll = rng.normal(0, 0.06) + drift(rng, count, 0.012)[:, 0]
    poses = pose(rotation @ about("z", roll), eyes)
    if not _means_the_same(performance, poses):
        return None
    return Head(poses, float(rng.uniform(60, 88)), "wrist", side)


def look_on(rng: np.random.Generator, performance: Performance, points: np.ndarray) -> Head | None:
    """A camera beside the person that has all points in view in all frames.

    Args:
        rng: chances.
        performance: what is watched.
        points: float (T, n, 3) that must be seen.

    Returns:
        The first of some random ones that frames the points; None if none does.
    """
    count = len(points)
    middle = (points.min(axis=(0, 1)) + points.max(axis=(0, 1))) / 2
    for attempt in range(40):
        angle = np.deg2rad(rng.uniform(22, 92)) * (1 if rng.random() < 0.5 else -1)
        height = np.deg2rad(rng.uniform(8, 48))
        distance = rng.uniform(0.75, 1.5)
        level = np.array([np.sin(angle), -np.cos(angle), 0.0])
        eye = middle + distance * (np.cos(height) * level + np.sin(height) * _UP)
        # The room's side walls are at least 1.3 m from its middle.
        eye[0] = np.clip(eye[0], -1.2, 1.2)
        aim = middle + rng.normal(0, 0.06, 3)
        eyes = eye + drift(rng, count, 0.012)
        rotation = frame(aim + drift(rng, count, 0.018) - eyes, _UP)
        rotation = rotation @ about("z", rng.normal(0, 0.04) + drift(rng, count, 0.008)[:, 0])
        poses = pose(rotation, eyes)
        field_of_view = float(rng.uniform(34, 56) + min(attempt * 0.8, 20.0))
        seen = project(poses, field_of_view, points)
        if not ((seen > 0.05).all() and (seen < 0.95).all()):
            continue
        if _means_the_same(performance, poses):
            return Head(poses, field_of_view, "third")
    return None


def _means_the_same(performance: Performance, poses: np.ndarray) -> bool:
    """Whether the caption's direction is the wearer's and the image's alike, in every frame."""
    told = _TOLD.get(performance.direction)
    if told is None or (
        performance.action in ("open", "close") and performance.direction in ("away", "toward")
    ):
        return True  # nothing is said, or up, down and turns, which all of these cameras share
    right = poses[:, :3, 0] * [1.0, 1.0, 0.0]
    forward = -poses[:, :3, 2] * [1.0, 1.0, 0.0]
    if performance.direction in ("left", "right"):
        axis = unit(right) * (1.0 if performance.direction == "right" else -1.0)
    else:
        axis = unit(forward) * (1.0 if performance.direction == "away" else -1.0)
    return bool((axis @ told > _MEANT).all())


def person(
    rng: np.random.Generator, room: Room, stand: tuple[float, float], count: int
) -> list[Thing]:
    """Trunk, legs, neck and head of who acts; without a face."""
    shirt = room.sleeve or Paint(-1, (*rng.uniform(0.1, 0.9, 3), 1.0))
    trousers = Paint(-1, (*rng.uniform(0.05, 0.5, 3), 1.0))
    skin = Paint(-1, (*room.skin, 1.0))
    hair = Paint(-1, (*(rng.uniform(0.05, 0.45) * np.array([1.0, 0.8, 0.6])), 1.0))
    x, y = stand
    low = -0.22
    shoulders = np.stack([shoulder(side, stand) for side in SIDES])
    chest, neck = shoulders.mean(0), shoulders.mean(0) + np.array([0.0, 0.02, 0.1])
    lean = rng.uniform(0.0, 0.05)
    trunk = (chest + np.array([x, y - 0.03, low])) / 2
    parts = [
        _ellipsoid(trunk, (0.175, 0.115, (chest[2] - low) / 2 + 0.1), shirt),
        rod(shoulders[0], shoulders[1], 0.06, shirt),
        rod(neck - 0.08 * _UP, neck + 0.05 * _UP, 0.048, skin),
        _ellipsoid(neck + np.array([0, 0.02 + lean, 0.13]), (0.075, 0.095, 0.115), skin),
        _ellipsoid(neck + np.array([0, lean - 0.008, 0.155]), (0.083, 0.096, 0.11), hair),
        *(
            rod((x + way * 0.09, y - 0.03, low), (x + way * 0.1, y - 0.03, -0.88), 0.075, trousers)
            for way in (-1.0, 1.0)
        ),
    ]
    return [Thing(parts, np.broadcast_to(np.eye(4), (count, 4, 4)), label="person")]


def _ellipsoid(center: np.ndarray, half: tuple[float, float, float], paint: Paint) -> Part:
    size = (float(half[0]), float(half[1]), float(half[2]))
    return Part("ellipsoid", size, pose(None, np.asarray(center)), paint.surface, paint.color)
