"""A human hand of 25 bones: its shape, its poses, and how its fingers close on something.

The frame of a bone: -z along the bone towards the tip, y towards the back of the hand, x to the
right. Fingers bend by negative turns about x. The left hand is the right one mirrored in x.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pretrain.clips.synthetic import assets
from pretrain.clips.synthetic.poses import about, inverse

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")

FINGERS = ("thumb", "index-finger", "middle-finger", "ring-finger", "pinky-finger")
FINGER_RADIUS = 0.0075
"""Half the thickness of a finger, meters."""

PALM = 0.019
"""Distance of the palm's skin from the wrist's plane, meters."""


def sign(side: Side) -> float:
    """1 for the right hand, -1 for the left: the mirror in x."""
    return 1.0 if side == "right" else -1.0


@dataclass(frozen=True)
class HandShape:
    """Skin and skeleton of one hand at rest.

    Attributes:
        names: of the bones, 25; the wrist is the first.
        parents: index of each bone's parent, -1 for the wrist.
        bind: float (25, 4, 4), poses of the bones in the skin's own frame.
        relative: float (25, 4, 4), poses relative to the parent.
        vertices: float (1360, 3), meters; faces, texture coordinates, and for each bone the
            indices and weights of the vertices that follow it.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    bind: np.ndarray
    relative: np.ndarray
    vertices: np.ndarray
    faces: np.ndarray
    texture: np.ndarray
    members: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...]


@functools.cache
def hand_shape(side: Side) -> HandShape:
    """The hand of that side."""
    arrays = assets.load("right_hand")
    names = tuple(str(name) for name in arrays["joint_names"])
    parents = [-1]
    for index, name in enumerate(names[1:], start=1):
        finger = next(finger for finger in FINGERS if name.startswith(finger))
        parents.append(index - 1 if names[index - 1].startswith(finger) else 0)
    vertices = arrays["vertices"].astype(np.float64)
    faces = arrays["faces"].astype(np.int64)
    bind = arrays["bind_pose"]
    if side == "left":
        mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
        vertices = vertices * [-1.0, 1.0, 1.0]
        faces = faces[:, ::-1]
        bind = mirror @ bind @ mirror
    relative = np.stack(
        [
            np.eye(4) if parent < 0 else inverse(bind[parent]) @ bind[index]
            for index, parent in enumerate(parents)
        ]
    )
    members, weights = [], []
    for bone in range(len(names)):
        rows, columns = np.nonzero(
            (arrays["joint_index"] == bone) & (arrays["joint_weight"] > 1e-3)
        )
        members.append(rows)
        weights.append(arrays["joint_weight"][rows, columns].astype(np.float64))
    return HandShape(
        names=names,
        parents=tuple(parents),
        bind=bind,
        relative=relative,
        vertices=vertices,
        faces=faces,
        texture=arrays["uv"].astype(np.float64),
        members=tuple(members),
        weights=tuple(weights),
    )


def bones(
    side: Side,
    wrist: np.ndarray,
    closure: np.ndarray,
    spread: float | np.ndarray = 0.3,
    opposition: float | np.ndarray = 1.0,
) -> np.ndarray:
    """Poses of all bones (..., 25, 4, 4).

    Args:
        side: which hand.
        wrist: (..., 4, 4).
        closure: (..., 5), thumb to little finger, 0 straight to 1 a fist.
        spread: how far the fingers are apart, 0 to 1.
        opposition: how far the thumb stands against the fingers, 0 to 1.
    """
    shape = hand_shape(side)
    mirror = sign(side)
    lead = wrist.shape[:-2]
    closure = np.broadcast_to(closure, (*lead, 5))
    spread = np.broadcast_to(spread, lead)
    opposition = np.broadcast_to(opposition, lead)
    poses = np.empty((*lead, len(shape.names), 4, 4))
    poses[..., 0, :, :] = wrist
    for index in range(1, len(shape.names)):
        local = np.broadcast_to(shape.relative[index], (*lead, 4, 4)).copy()
        finger, joint = divmod(index - 5, 5) if index >= 5 else (-1, index - 1)
        bend = closure[..., finger + 1]
        turn = None
        if finger < 0:
            if joint == 0:
                turn = about("y", mirror * 0.5 * opposition) @ about("x", -0.35 * opposition)
            elif joint == 1:
                turn = about("x", -0.6 * bend)
            elif joint == 2:
                turn = about("x", -0.9 * bend)
        elif joint == 1:
            aside = mirror * spread * (1.3 - finger) * 0.12 * (1.0 - bend)
            turn = about("y", aside) @ about("x", -1.35 * bend)
        elif joint == 2:
            turn = about("x", -1.5 * bend)
        elif joint == 3:
            turn = about("x", -0.9 * bend)
        if turn is not None:
            local[..., :3, :3] = local[..., :3, :3] @ turn
        poses[..., index, :, :] = poses[..., shape.parents[index], :, :] @ local
    return poses


@dataclass(frozen=True)
class Grip:
    """How a hand holds something.

    Attributes:
        closure: float (5,), thumb to little finger.
        center: float (3,), where the middle of what is held lies in the wrist's frame, meters.
        opposition: of the thumb.
        spread: of the fingers.
        opened: float (5,), the closure on the way there and after letting go.
    """

    closure: np.ndarray
    center: np.ndarray
    opposition: float
    spread: float
    opened: np.ndarray


def _for_side(grip: Grip, side: Side) -> Grip:
    if side == "right":
        return grip
    return Grip(
        grip.closure, grip.center * [-1.0, 1.0, 1.0], grip.opposition, grip.spread, grip.opened
    )


def wrap(side: Side, radius: float) -> Grip:
    """All fingers around a bar along the hand's x, such as a handle or a bottle.

    Args:
        side: which hand.
        radius: of the bar, meters, up to about 0.05.
    """
    return _for_side(_wrap(round(radius, 3)), side)


_STEPS = 41


def _clearance(
    closure: np.ndarray, opposition: np.ndarray, center: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """How far each finger's bones keep from a bar along x through ``center``, meters.

    Returns:
        Least distance of each finger's skin from the bar's, (n, 5), negative inside; and that of
        the tip's alone.
    """
    count = len(closure)
    poses = bones("right", np.broadcast_to(np.eye(4), (count, 4, 4)), closure, 0.25, opposition)
    along = np.linspace(0.0, 1.0, 5)[:, None]
    least, tips = np.empty((count, 5)), np.empty((count, 5))
    for finger in range(5):
        first = 1 if finger == 0 else 5 * finger + 1
        joints = poses[:, first : 5 * finger + 5, None, 1:3, 3]
        points = joints[:, :-1] * (1 - along) + joints[:, 1:] * along
        # The knuckle lies at the palm, whatever the finger does; so does the thumb's root.
        points = points.reshape(count, -1, 1, 2)[:, 5 if finger == 0 else 2 :]
        distance = np.linalg.norm(points - center[1:], axis=-1) - radius - FINGER_RADIUS
        least[:, finger] = distance.min(axis=(1, 2))
        tips[:, finger] = distance[:, -1, -1]
    return least, tips


@functools.lru_cache(maxsize=256)
def _wrap(radius: float) -> Grip:
    # Thick bars lie beyond the knuckles, to leave room for the thumb.
    center = np.array([0.0, -(PALM + 1.3 * radius), -0.084 - 0.35 * radius])
    steps = np.linspace(0.0, 1.0, _STEPS)
    least, _ = _clearance(steps[:, None].repeat(5, 1), np.ones(_STEPS), center, radius)
    closure = np.empty(5)
    for finger in range(1, 5):
        # The first closure that touches, or a loose fist around something thin.
        free = least[:, finger] > -0.002
        closure[finger] = steps[min(int(np.argmin(free)) if not free.all() else _STEPS, 36)]
    # The thumb closes in two ways: of all that stay outside, the one whose tip comes nearest.
    opposition, bend = (
        values.ravel() for values in np.meshgrid(np.linspace(-1.2, 1, 12), steps[::2])
    )
    least, tips = _clearance(bend[:, None].repeat(5, 1), opposition, center, radius)
    score = np.abs(tips[:, 0]) + 20 * np.maximum(0.0, -0.003 - least[:, 0])
    best = int(np.argmin(score))
    closure[0] = bend[best]
    opened = closure * 0.25 + 0.05
    return Grip(closure, center, float(opposition[best]), 0.25, opened)


def pinch(side: Side, width: float) -> Grip:
    """Thumb against index and middle finger, across something of that width in meters.

    Raises nothing for what is too wide: the hand then opens as far as it can.
    """
    return _for_side(_pinch(round(width, 3)), side)


PINCH_WIDEST = 0.092
"""What the hand spans between thumb and fingers, meters."""


@functools.lru_cache(maxsize=256)
def _pinch(width: float) -> Grip:
    steps = np.linspace(0.02, 0.95, 48)
    closures = np.stack([0.25 + 0.5 * steps, steps, steps, steps + 0.02, steps + 0.05], axis=1)
    poses = bones("right", np.broadcast_to(np.eye(4), (len(steps), 4, 4)), closures)
    thumb = poses[:, 4, :3, 3]
    fingers = (poses[:, 9, :3, 3] + poses[:, 14, :3, 3]) / 2
    gap = np.linalg.norm(thumb - fingers, axis=1) - 2 * FINGER_RADIUS
    best = int(np.argmin(np.abs(gap - width)))
    center = (thumb[best] + fingers[best]) / 2
    wider = int(np.argmin(np.abs(gap - min(width + 0.04, gap.max()))))
    return Grip(closures[best], center, 1.0, 0.3, closures[wider])


def flat(side: Side) -> Grip:
    """The open hand; its center is the palm's middle, for pushing."""
    return _for_side(
        Grip(
            np.array([0.15, 0.12, 0.12, 0.14, 0.16]),
            np.array([0.004, -PALM, -0.095]),
            0.2,
            0.35,
            np.array([0.15, 0.18, 0.2, 0.22, 0.24]),
        ),
        side,
    )


@functools.cache
def _point() -> Grip:
    closure = np.array([0.75, 0.04, 0.85, 0.9, 0.92])
    tip = bones("right", np.eye(4), closure, 0.1, 0.9)[9, :3, 3]
    return Grip(
        closure,
        tip + np.array([0.0, -0.002, -0.006]),
        0.9,
        0.1,
        np.array([0.6, 0.1, 0.7, 0.75, 0.8]),
    )


def point(side: Side) -> Grip:
    """The index finger stretched; its center is the fingertip."""
    return _for_side(_point(), side)


def relaxed() -> np.ndarray:
    """Closure (5,) of a hand at rest."""
    return np.array([0.2, 0.25, 0.28, 0.32, 0.36])
