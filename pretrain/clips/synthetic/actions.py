"""What hands do: each action moves hands, objects and furniture through a clip.

Time runs from 0 to 1 through a clip. Hands come first, touch, and then move what they hold, so that
the first of four frames shows the state before and the last the state after. Everything is
kinematic: what is held follows the hand's path exactly, or the hand follows the handle's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pretrain.clips.synthetic import hand
from pretrain.clips.synthetic.furniture import Mover
from pretrain.clips.synthetic.hand import Grip, Side, sign
from pretrain.clips.synthetic.poses import about, about_axis, frame, pose, smooth, transform
from pretrain.clips.synthetic.room import Item, Room
from pretrain.clips.synthetic.stage import Part, Thing

Acting = Literal["left", "right", "both"]
Direction = Literal[
    "left", "right", "away", "toward", "up", "down", "clockwise", "anticlockwise", "none"
]


@dataclass
class HandPath:
    """One hand through a clip.

    Attributes:
        wrist: float (T, 4, 4).
        closure: float (T, 5).
        opposition: of the thumb, (T,).
        spread: of the fingers, (T,).
        contact: bool (T,), whether it touches what it acts on.
    """

    wrist: np.ndarray
    closure: np.ndarray
    opposition: np.ndarray
    spread: np.ndarray
    contact: np.ndarray


@dataclass
class Performance:
    """An action carried out in a room.

    Attributes:
        action: a name in :data:`ACTIONS`.
        hand: which acts.
        direction: of the motion as the wearer sees it, or the sense of a turn.
        item: index of the object acted on, or None.
        mover: index of the part of furniture acted on, or None.
        other: index of a second object, such as the cup poured into.
        hands: acting hands' paths.
        item_poses: float (T, 4, 4) of objects that do not stay at rest, by index.
        mover_values: float (T,) of joints that do not rest, by index.
        focus: float (T, 3), what the wearer looks at.
        stand: where the wearer stands, x and y.
        extras: things that are only there in this action, such as a stream of water.
    """

    action: str
    hand: Acting
    direction: Direction
    item: int | None
    mover: int | None
    other: int | None
    hands: dict[Side, HandPath]
    item_poses: dict[int, np.ndarray]
    mover_values: dict[int, np.ndarray]
    focus: np.ndarray
    stand: tuple[float, float]
    extras: list[Thing] = field(default_factory=list)


def _turned(
    side: Side, forward: tuple[float, float, float], up: tuple[float, float, float], bearing: float
) -> np.ndarray:
    """A wrist's rotation given for the right hand, mirrored for the left, then turned about z."""
    mirror = np.array([sign(side), 1.0, 1.0])
    return np.asarray(
        about("z", bearing) @ frame(np.array(forward) * mirror, np.array(up) * mirror)
    )


def _bearing(side: Side, stand: tuple[float, float], target: np.ndarray) -> float:
    """Turn about z, radians, from straight ahead to the way from the elbow to the target."""
    dx = target[0] - (stand[0] + sign(side) * 0.24)
    dy = max(target[1] - stand[1] + 0.1, 0.15)
    return float(np.clip(-np.arctan2(dx, dy), -0.9, 0.9)) * 0.7


def _path(
    side: Side,
    grip: Grip,
    rotation: np.ndarray,
    points: np.ndarray,
    reach: np.ndarray,
    away: np.ndarray,
) -> HandPath:
    """A hand that comes to points and holds on to them.

    Args:
        side: which hand.
        grip: how it holds.
        rotation: of the wrist, (3, 3) or (T, 3, 3).
        points: where the middle of its grip belongs, (T, 3).
        reach: 0 where it is still ``away`` meters off and open, 1 where it holds, (T,).
        away: (3,).
    """
    count = len(points)
    rotation = np.broadcast_to(rotation, (count, 3, 3))
    reach = np.asarray(reach)
    # The hand opens and closes close to the object, not on the way there.
    grasped = smooth((reach - 0.45) / 0.55)
    position = points + (1 - reach)[:, None] * away - np.einsum("tij,j->ti", rotation, grip.center)
    closure = grip.opened + grasped[:, None] * (grip.closure - grip.opened)
    return HandPath(
        wrist=pose(rotation, position),
        closure=closure,
        opposition=np.full(count, grip.opposition),
        spread=np.full(count, grip.spread),
        contact=reach > 0.97,
    )


# ------------------------------------------------------------------------------- holding objects


def _hold_item(
    rng: np.random.Generator,
    room: Room,
    item: Item,
    side: Side,
    stand: tuple[float, float],
    path: np.ndarray,
    reach: np.ndarray,
) -> tuple[HandPath, np.ndarray]:
    """One hand on an object that goes along ``path`` (T, 3); returns also the object's poses."""
    extent = item.kind.extent
    mirror = sign(side)
    bearing = _bearing(side, stand, item.position)
    long_x = extent[0] >= extent[1]
    narrow = float(min(extent[:2]))
    broad = float(max(extent[:2]))
    if item.kind.hold == "around":
        grip = hand.wrap(side, float(np.clip(narrow / 2, 0.012, 0.046)))
        rotation = _turned(side, (-0.45, 0.88, -0.12), (0.88, 0.38, 0.28), bearing)
        # Boxes turn a narrow edge to the hand.
        yaw = bearing + (0.0 if long_x else np.pi / 2) + rng.normal(0, 0.12)
        if _is_round(item):
            yaw = item.yaw
        aside = mirror * max(broad / 2 - max(narrow / 2, 0.03), 0.0) if not _is_round(item) else 0.0
        offset = np.array([aside * np.cos(bearing), aside * np.sin(bearing), 0.06 * extent[2]])
        away = about("z", bearing) @ np.array([mirror * 0.10, -0.11, 0.05])
    else:
        grip = hand.pinch(side, min(narrow, hand.PINCH_WIDEST))
        rotation = _turned(side, (-0.2, 0.68, -0.72), (0.2, 0.66, 0.72), bearing)
        # The narrow side of the object goes between thumb and fingers.
        bones = hand.bones(side, pose(rotation), grip.closure)
        across = (bones[9, :3, 3] + bones[14, :3, 3]) / 2 - bones[4, :3, 3]
        yaw = float(np.arctan2(across[1], across[0])) + (np.pi / 2 if long_x else 0.0)
        yaw += rng.normal(0, 0.1)
        offset = np.array([0.0, 0.0, max(0.1 * extent[2], 0.012 - extent[2] / 2)])
        away = about("z", bearing) @ np.array([mirror * 0.05, -0.10, 0.12])
    poses = pose(about("z", yaw), path)
    return _path(side, grip, rotation, path + offset, reach, away), poses


def _is_round(item: Item) -> bool:
    extent = item.kind.extent
    return bool(max(extent[:2]) < 1.12 * min(extent[:2])) or item.kind.name in ("mug", "jug")


def _hold_both(
    room: Room, item: Item, stand: tuple[float, float], path: np.ndarray, reach: np.ndarray
) -> tuple[dict[Side, HandPath], np.ndarray]:
    """Both hands at an object's sides."""
    extent = item.kind.extent
    bearing = (
        float(
            np.clip(
                -np.arctan2(item.position[0] - stand[0], item.position[1] - stand[1]), -0.5, 0.5
            )
        )
        * 0.6
    )
    long_x = extent[0] >= extent[1] or item.kind.name in ("plate", "bowl")
    yaw = bearing + (0.0 if long_x else np.pi / 2)
    half = float(extent[0] if long_x else extent[1]) / 2
    flat_grip = np.array([0.3, 0.22, 0.24, 0.26, 0.28])
    paths: dict[Side, HandPath] = {}
    low = min(0.0, 0.03 - extent[2] / 2)
    for side in hand.SIDES:
        mirror = sign(side)
        if extent[2] < 0.045:
            # Flat things: the fingers reach under the edge, the thumb lies on top.
            rotation = _turned(side, (-0.62, 0.7, -0.25), (0.45, 0.25, 0.85), bearing)
            base = hand.pinch(side, max(float(extent[2]), 0.012))
            point = np.array([mirror * (half - 0.012), 0.0, 0.0])
            grip = base
        else:
            rotation = _turned(side, (-0.22, 0.92, -0.3), (0.95, 0.2, 0.05), bearing)
            base = hand.flat(side)
            grip = Grip(flat_grip, base.center, 0.55, 0.35, flat_grip * 0.6)
            point = np.array([mirror * half, -0.01, low + 0.1 * extent[2]])
        points = path + about("z", bearing) @ point
        away = about("z", bearing) @ np.array([mirror * 0.1, -0.09, 0.05])
        paths[side] = _path(side, grip, rotation, points, reach, away)
    return paths, pose(about("z", yaw), path)


_WAYS: dict[str, np.ndarray] = {
    "left": np.array([-1.0, 0.0, 0.0]),
    "right": np.array([1.0, 0.0, 0.0]),
    "away": np.array([0.0, 1.0, 0.0]),
    "toward": np.array([0.0, -1.0, 0.0]),
}


def _acting_hand(rng: np.random.Generator, item: Item, stand_x: float) -> Side:
    """The nearer hand more often, either where it can reach."""
    offset = item.position[0] - stand_x
    likely = 1 / (1 + np.exp(-offset / 0.08))
    return "right" if rng.random() < 0.1 + 0.8 * likely else "left"


def _candidates(room: Room, *holds: str) -> list[int]:
    return [index for index, item in enumerate(room.items) if item.kind.hold in holds]


def _stand(rng: np.random.Generator, x: float) -> tuple[float, float]:
    return float(0.75 * x + rng.uniform(-0.08, 0.08)), float(rng.uniform(-0.3, -0.2))


def _carry(
    rng: np.random.Generator,
    room: Room,
    index: int,
    action: str,
    direction: Direction,
    path: np.ndarray,
    reach: np.ndarray,
) -> Performance:
    """Any action in which an object is held: one hand or two, as the object asks."""
    item = room.items[index]
    stand = _stand(rng, item.position[0])
    hands: dict[Side, HandPath]
    acting: Acting
    if item.kind.hold == "both":
        hands, poses = _hold_both(room, item, stand, path, reach)
        acting = "both"
    else:
        side = _acting_hand(rng, item, stand[0])
        one, poses = _hold_item(rng, room, item, side, stand, path, reach)
        hands, acting = {side: one}, side
    return Performance(
        action=action,
        hand=acting,
        direction=direction,
        item=index,
        mover=None,
        other=None,
        hands=hands,
        item_poses={index: poses},
        mover_values={},
        focus=0.5 * item.position + 0.5 * path,
        stand=stand,
    )


def _pick_up(rng: np.random.Generator, room: Room, u: np.ndarray) -> Performance | None:
    chosen = _choose(rng, _candidates(room, "around", "above", "both"))
    if chosen is None:
        return None
    item = room.items[chosen]
    lift = np.array([rng.uniform(-0.04, 0.04), rng.uniform(-0.06, 0.0), rng.uniform(0.14, 0.24)])
    path = item.position + smooth((u - 0.34) / 0.5)[:, None] * lift
    return _carry(rng, room, chosen, "pick up", "up", path, smooth(u / 0.32))


def _put_down(rng: np.random.Generator, room: Room, u: np.ndarray) -> Performance | None:
    chosen = _choose(rng, _candidates(room, "around", "above", "both"))
    if chosen is None:
        return None
    item = room.items[chosen]
    lift = np.array([rng.uniform(-0.04, 0.04), rng.uniform(-0.06, 0.0), rng.uniform(0.14, 0.24)])
    path = item.position + (1 - smooth((u - 0.06) / 0.52))[:, None] * lift
    return _carry(rng, room, chosen, "put down", "down", path, 1 - smooth((u - 0.64) / 0.3))


def _room_to_move(room: Room, index: int, way: np.ndarray, distance: float) -> bool:
    """Whether an object can go that far and stay on the counter, clear of all else."""
    item = room.items[index]
    end = item.position + way * distance
    radius = 0.5 * float(np.hypot(*item.kind.extent[:2]))
    if not (abs(end[0]) < 0.5 and 0.05 + radius * 0.5 < end[1] < room.depth - 0.09):
        return False
    for other, obstacle in enumerate(room.items):
        if other == index:
            continue
        apart = 0.7 * (radius + 0.5 * float(np.hypot(*obstacle.kind.extent[:2])))
        along = float(np.clip((obstacle.position - item.position) @ way, 0, distance))
        nearest = item.position + way * along
        if np.hypot(*(nearest - obstacle.position)[:2]) < apart:
            return False
    return not any(
        x0 - radius * 0.6 < end[0] < x1 + radius * 0.6
        and y0 - radius * 0.6 < end[1] < y1 + radius * 0.6
        for x0, x1, y0, y1 in room.footprints
    )


def _move(rng: np.random.Generator, room: Room, u: np.ndarray) -> Performance | None:
    for direction in rng.permutation(["left", "right", "away", "toward"]):
        distance = (
            rng.uniform(0.16, 0.3) if direction in ("left", "right") else rng.uniform(0.14, 0.24)
        )
        way = _WAYS[str(direction)]
        free = [
            index
            for index in _candidates(room, "around", "above", "both")
            if _room_to_move(room, index, way, distance)
        ]
        chosen = _choose(rng, free)
        if chosen is None:
            continue
        item = room.items[chosen]
        along = smooth((u - 0.3) / 0.5)
        height = rng.uniform(0.03, 0.08) * np.sin(np.pi * along)
        path = (
            item.position
            + along[:, None] * way * distance
            + height[:, None] * np.array([0, 0, 1.0])
        )
        return _carry(rng, room, chosen, "move", str(direction), path, smooth(u / 0.3))  # type: ignore[arg-type]
    return None


def _slide(rng: np.random.Generator, room: Room, u: np.ndarray, action: str) -> Performance | None:
    """Pushing or pulling an object over the counter with the open hand."""
    choices: list[tuple[str, Side]] = (
        [("left", "right"), ("right", "left"), ("away", "left"), ("away", "right")]
        if action == "push"
        else [("toward", "left"), ("toward", "right")]
    )
    for place in rng.permutation(len(choices)):
        direction, side = choices[int(place)]
        way = _WAYS[direction]
        distance = float(rng.uniform(0.14, 0.24))
        free = [
            index
            for index, item in enumerate(room.items)
            if item.kind.extent[2] > 0.03 and _room_to_move(room, index, way, distance)
        ]
        chosen = _choose(rng, free)
        if chosen is None:
            continue
        item = room.items[chosen]
        extent = item.kind.extent
        stand = _stand(rng, item.position[0])
        mirror = sign(side)
        along = smooth((u - 0.3) / 0.52)
        path = item.position + along[:, None] * way * distance
        turned = np.abs(about("z", item.yaw)[:2, :2])
        half = turned @ extent[:2] / 2
        reach_in = float(half[0] if direction in ("left", "right") else half[1]) * 0.92
        grip = hand.flat(side)
        height = max(0.035, min(0.0 + extent[2] * 0.55, 0.09)) - extent[2] / 2
        if direction in ("left", "right"):
            rotation = _turned(side, (-0.05, 0.97, -0.12), (0.98, 0.05, 0.15), 0.0)
            away = np.array([mirror * 0.12, -0.05, 0.03])
        elif direction == "away":
            rotation = _turned(side, (-0.15, 0.45, 0.88), (0.0, -0.88, 0.45), 0.0)
            away = np.array([mirror * 0.03, -0.12, 0.04])
            height = max(height, 0.05 - extent[2] / 2)
        else:
            rotation = _turned(side, (-0.25, 0.42, -0.88), (0.1, 0.86, 0.45), 0.0)
            grip = Grip(
                grip.closure + 0.1, grip.center + np.array([0, 0.0, -0.05]), 0.2, 0.3, grip.opened
            )
            away = np.array([mirror * 0.04, 0.03, 0.13])
        points = path - way * reach_in + np.array([0.0, 0.0, height])
        return Performance(
            action=action,
            hand=side,
            direction=direction,  # type: ignore[arg-type]
            item=chosen,
            mover=None,
            other=None,
            hands={side: _path(side, grip, rotation, points, smooth(u / 0.3), away)},
            item_poses={chosen: pose(about("z", item.yaw), path)},
            mover_values={},
            focus=0.5 * item.position + 0.5 * path,
            stand=stand,
        )
    return None


def _push(rng: np.random.Generator, room: Room, u: np.ndarray) -> Performance | None:
    return _slide(rng, room, u, "push")


def _pull(rng: np.random.Generator, room: Room, u: np.ndarray) -> Performance | None:
    return _slide(rng, room, u, "pull")


def _pour(rng: np.random.Generator, room: Room, u: np.ndarray) -> Performance | None:
    """Tilts a vessel that is held above another."""
    sources = [i for i, item in enumerate(room.items) if item.kind.pours]
    targets = [i for i, item in enumerate(room.items) if item.kind.receives]
    pairs = [(a, b) for a in sources for b in targets if a != b]
    if not pairs:
        return None
    first, second = pairs[int(rng.integers(len(pairs)))]
    item, target = room.items[first], room.items[second]
    stand = _stand(rng, target.position[0])
    side: Side = "right" if rng.random() < 0.5 else "left"
    mirror = sign(side)
    extent = item.kind.extent
    tilt = mirror * -1.0 * (0.15 + 1.5 * smooth((u - 0.12) / 0.5))
    # The mouth comes above the target's middle when tilted; it turns about the hand's forward axis.
    mouth = np.array([0.0, 0.0, extent[2] / 2])
    above = target.position + np.array([0.0, 0.0, target.kind.extent[2] / 2 + 0.06])
    spin = about("y", tilt)
    full = about("y", tilt[-1])
    center = above - full @ mouth
    start = center + np.array([mirror * 0.05, -0.03, 0.0])
    center_path = start + smooth((u - 0.0) / 0.6)[:, None] * (center - start)
    grip = hand.wrap(side, float(np.clip(min(extent[:2]) / 2, 0.012, 0.046)))
    upright = _turned(side, (-0.12, 0.97, -0.1), (0.97, 0.12, 0.2), 0.0)
    rotation = spin @ upright
    path = _path(side, grip, rotation, center_path, np.ones_like(u), np.zeros(3))
    yaw = 0.0 if _is_round(item) else np.pi / 2 if extent[0] > extent[1] else 0.0
    poses = pose(spin @ about("z", yaw), center_path)
    flowing = np.abs(tilt) > 1.2
    lip = transform(poses, mouth)
    bottom = target.position[2] - 0.2 * target.kind.extent[2]
    length = np.maximum(lip[:, 2] - bottom, 0.02)
    color = (0.75, 0.85, 0.95, 0.85) if rng.random() < 0.6 else (0.45, 0.25, 0.1, 0.95)
    stream_pose = pose(None, np.column_stack([lip[:, :2], lip[:, 2] - length / 2]))
    stream = Thing(
        [Part("cylinder", (0.0045, float(length[-1]) / 2, 0.0), np.eye(4), -1, color)],
        stream_pose,
        None,
        flowing.astype(float),
        label="object",
    )
    return Performance(
        action="pour",
        hand=side,
        direction="none",
        item=first,
        mover=None,
        other=second,
        hands={side: path},
        item_poses={first: poses},
        mover_values={},
        focus=0.4 * center_path + 0.6 * target.position,
        stand=stand,
        extras=[stream],
    )


# --------------------------------------------------------------------------------------- furniture


def _reachable(room: Room, kinds: tuple[str, ...]) -> list[int]:
    chosen = []
    for index, mover in enumerate(room.movers):
        point = (mover.base @ mover.handle)[:3, 3]
        if mover.kind in kinds and abs(point[0]) < 0.75 and -0.62 < point[2] < 0.8:
            chosen.append(index)
    return chosen


def _stand_at(rng: np.random.Generator, point: np.ndarray, side: Side) -> tuple[float, float]:
    x = point[0] - sign(side) * rng.uniform(0.02, 0.2)
    y = min(point[1] - 0.45, -0.22) + rng.uniform(-0.06, 0.04)
    return float(x), float(y)


def _work_mover(
    rng: np.random.Generator,
    room: Room,
    index: int,
    action: str,
    direction: Direction,
    side: Side,
    values: np.ndarray,
    reach: np.ndarray,
    follow: float,
) -> Performance:
    """A hand at a handle, going where it goes.

    Args:
        rng: chances.
        room: where.
        index: of the part of furniture.
        action: its name.
        direction: of the motion.
        side: which hand.
        values: of the joint, (T,).
        reach: of the hand, (T,).
        follow: the share of the furniture's turn that the wrist follows.
    """
    mover = room.movers[index]
    handles = mover.poses(values) @ mover.handle
    grip, rotation, away = _handle_grip(mover, side, values, follow, action == "touch")
    points = handles[:, :3, 3]
    stand = _stand_at(rng, points.mean(0), side)
    return Performance(
        action=action,
        hand=side,
        direction=direction,
        item=None,
        mover=index,
        other=None,
        hands={side: _path(side, grip, rotation, points, reach, away)},
        item_poses={},
        mover_values={index: values},
        focus=0.5 * points + 0.5 * points.mean(0),
        stand=stand,
    )


def _handle_grip(
    mover: Mover, side: Side, values: np.ndarray, follow: float, pointing: bool
) -> tuple[Grip, np.ndarray, np.ndarray]:
    """How a handle is held: the grip, the wrist's rotation (T, 3, 3), and where it comes from."""
    mirror = np.diag([sign(side), 1.0, 1.0])
    closed = (mover.base @ mover.handle)[:3, :3]
    yaw = np.arctan2(mover.base[1, 0], mover.base[0, 0])
    unturned = about("z", -yaw) @ closed
    # Rotations of the right hand are mirrored in the furniture's own plane of symmetry.
    rotation = about("z", yaw) @ (mirror @ unturned @ mirror)
    turn = np.zeros_like(values) if mover.slides else values * follow
    world_axis = mover.base[:3, :3] @ mover.axis
    rotation = about_axis(world_axis, turn) @ rotation
    outward = about("z", yaw) @ np.array([sign(side) * 0.04, -0.13, 0.04])
    if pointing or mover.grip == "tip":
        rotation = np.broadcast_to(
            about("z", yaw) @ _turned(side, (-0.1, 0.95, -0.25), (0.05, 0.25, 0.95), 0.0),
            rotation.shape,
        )
        grip = hand.point(side)
    elif mover.grip == "bar":
        grip = hand.wrap(side, mover.radius)
        # A bar is held in the fingers, not in the palm, whose back stays off the door.
        center = grip.center + np.array([0.0, -0.012, -0.022])
        grip = Grip(grip.closure, center, grip.opposition, 0.1, grip.opened)
    else:
        grip = hand.pinch(side, 2 * mover.radius)
    return grip, rotation, outward


_OPENED = ("drawer", "door", "sliding door", "lid")


def _touch(rng: np.random.Generator, room: Room, u: np.ndarray) -> Performance | None:
    """The index finger on an object or on furniture, which stays as it is."""
    reach = smooth(u / 0.38) * (1 - smooth((u - 0.68) / 0.3))
    side: Side = "right" if rng.random() < 0.5 else "left"
    movers = _reachable(room, (*_OPENED, "knob", "switch"))
    if movers and rng.random() < 0.5:
        chosen = _favor(rng, room, movers)
        values = np.full_like(u, room.values[chosen])
        return _work_mover(rng, room, chosen, "touch", "none", side, values, reach, 0.0)
    index = _choose(rng, list(range(len(room.items))))
    if index is None:
        return None
    item = room.items[index]
    stand = _stand(rng, item.position[0])
    grip = hand.point(side)
    rotation = _turned(
        side, (-0.15, 0.8, -0.55), (0.1, 0.55, 0.8), _bearing(side, stand, item.position)
    )
    extent = item.kind.extent
    half = float((np.abs(about("z", item.yaw)[1, :2]) * extent[:2]).sum()) / 2
    point = item.position + np.array([0.0, -0.7 * half, 0.28 * extent[2]])
    points = np.broadcast_to(point, (len(u), 3))
    away = np.array([sign(side) * 0.05, -0.12, 0.07])
    return Performance(
        action="touch",
        hand=side,
        direction="none",
        item=index,
        mover=None,
        other=None,
        hands={side: _path(side, grip, rotation, points, reach, away)},
        item_poses={index: np.broadcast_to(item.pose, (len(u), 4, 4))},
        mover_values={},
        focus=points,
        stand=stand,
    )


def _favor(rng: np.random.Generator, room: Room, options: list[int]) -> int:
    """One of some movers: each kind is as likely, and those below the counter a third as much."""
    kinds = sorted({room.movers[index].kind for index in options})
    kind = kinds[int(rng.integers(len(kinds)))]
    own = [index for index in options if room.movers[index].kind == kind]
    heights = np.array([(room.movers[i].base @ room.movers[i].handle)[2, 3] for i in own])
    weights = np.where(heights < -0.05, 1.0, 3.0)
    return int(rng.choice(own, p=weights / weights.sum()))


def _open(rng: np.random.Generator, room: Room, u: np.ndarray) -> Performance | None:
    return _swing(rng, room, u, "open")


def _close(rng: np.random.Generator, room: Room, u: np.ndarray) -> Performance | None:
    return _swing(rng, room, u, "close")


def _swing(rng: np.random.Generator, room: Room, u: np.ndarray, action: str) -> Performance | None:
    options = _reachable(room, _OPENED)
    if not options:
        return None
    chosen = _favor(rng, room, options)
    mover = room.movers[chosen]
    wide = mover.limit * rng.uniform(0.62, 0.98)
    rest = mover.limit * rng.uniform(0.0, 0.06)
    start, end = (rest, wide) if action == "open" else (wide, rest)
    values = start + smooth((u - 0.3) / 0.52) * (end - start)
    side: Side = "right" if rng.random() < 0.5 else "left"
    direction: Direction = "none"
    if mover.kind == "sliding door":
        way = mover.base[:3, :3] @ mover.axis * (end - start)
        direction = "right" if way[0] > 0 else "left"
    elif mover.kind == "drawer":
        direction = "toward" if action == "open" else "away"
    return _work_mover(rng, room, chosen, action, direction, side, values, smooth(u / 0.3), 0.55)


def _turn(rng: np.random.Generator, room: Room, u: np.ndarray) -> Performance | None:
    chosen = _choose(rng, _reachable(room, ("knob",)))
    if chosen is None:
        return None
    clockwise = bool(rng.random() < 0.5)
    # The axis points away from who looks at it: positive turns are clockwise to the wearer.
    size = rng.uniform(0.9, 1.5) * (1.0 if clockwise else -1.0)
    start = -0.5 * size
    values = start + smooth((u - 0.3) / 0.52) * size
    side: Side = "right" if rng.random() < 0.5 else "left"
    direction: Direction = "clockwise" if clockwise else "anticlockwise"
    return _work_mover(rng, room, chosen, "turn", direction, side, values, smooth(u / 0.3), 0.75)


def _press(rng: np.random.Generator, room: Room, u: np.ndarray) -> Performance | None:
    chosen = _choose(rng, _reachable(room, ("button",)))
    if chosen is None:
        return None
    # In, and out again at the end, with the finger withdrawn.
    reach = smooth(u / 0.35) * (1 - smooth((u - 0.72) / 0.25))
    values = room.movers[chosen].limit * smooth((u - 0.35) / 0.15) * (1 - smooth((u - 0.66) / 0.1))
    side: Side = "right" if rng.random() < 0.5 else "left"
    return _work_mover(rng, room, chosen, "press", "none", side, values, reach, 0.0)


def _flip(rng: np.random.Generator, room: Room, u: np.ndarray) -> Performance | None:
    chosen = _choose(rng, _reachable(room, ("switch",)))
    if chosen is None:
        return None
    mover = room.movers[chosen]
    up = bool(rng.random() < 0.5)
    start, end = (0.0, mover.limit) if up else (mover.limit, 0.0)
    values = start + smooth((u - 0.34) / 0.36) * (end - start)
    side: Side = "right" if rng.random() < 0.5 else "left"
    return _work_mover(
        rng, room, chosen, "flip", "up" if up else "down", side, values, smooth(u / 0.32), 0.15
    )


def _choose(rng: np.random.Generator, options: list[int]) -> int | None:
    return int(rng.choice(options)) if options else None


ACTIONS: dict[str, Callable[[np.random.Generator, Room, np.ndarray], Performance | None]] = {
    "pick up": _pick_up,
    "put down": _put_down,
    "move": _move,
    "push": _push,
    "pull": _pull,
    "pour": _pour,
    "open": _open,
    "close": _close,
    "turn": _turn,
    "press": _press,
    "flip": _flip,
    "touch": _touch,
}
"""Every action by name; each returns None where the room has nothing to do it with."""
