"""Furniture with parts that move: drawers, cupboards, microwaves, stoves, switches and buttons.

Every piece is built facing -y with the bottom of its front's middle at the origin, x to the right,
and then placed. Boxes are turned so that their thinnest side is their own z: surfaces are laid on
x and y, and so come out right on every large face.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from pretrain.clips.synthetic.poses import about, about_axis, frame, pose
from pretrain.clips.synthetic.stage import Part


class Paint(NamedTuple):
    """Surface in the bank and color."""

    surface: int
    color: tuple[float, float, float, float]


@dataclass(frozen=True)
class Look:
    """Paints of a piece of furniture."""

    front: Paint
    body: Paint
    inside: Paint
    handle: Paint
    dark: Paint
    accent: Paint


MoverKind = Literal["drawer", "door", "sliding door", "lid", "knob", "switch", "button"]
GripKind = Literal["bar", "knob", "tip"]


@dataclass
class Mover:
    """A part of furniture that slides or turns.

    Attributes:
        kind: what it is.
        noun: its name in captions, unique in a room.
        parts: solids in its own frame.
        base: float (4, 4), its frame in the world when closed.
        axis: float (3,), direction of sliding or of the hinge, in its frame.
        slides: rather than turns.
        limit: how far it goes, meters or radians, signed; closed is 0.
        handle: float (4, 4), in its frame: -z is where the fingers point that come to hold it,
            x (of the right hand's wrist) along the bar.
        grip: how it is held.
        radius: of bar or knob, meters.
        track: number in masks, set by the room.
    """

    kind: MoverKind
    noun: str
    parts: list[Part]
    base: np.ndarray
    axis: np.ndarray
    slides: bool
    limit: float
    handle: np.ndarray
    grip: GripKind
    radius: float
    track: int | None = None

    def poses(self, value: np.ndarray) -> np.ndarray:
        """Its frame (T, 4, 4) in the world at values (T,) of its joint."""
        value = np.asarray(value, dtype=float)
        if self.slides:
            moved = pose(None, value[..., None] * self.axis)
        else:
            moved = pose(about_axis(self.axis, value))
        return np.asarray(self.base @ moved)


@dataclass
class Furniture:
    """A piece: what stands still and what moves, in the piece's frame until it is placed."""

    name: str
    parts: list[Part]
    movers: list[Mover]

    def place(self, where: np.ndarray) -> None:
        """Puts it at a pose (4, 4) in the world."""
        self.parts = [
            replace(part, local=where @ part.local, label=part.label or "furniture")
            for part in self.parts
        ]
        for mover in self.movers:
            mover.base = where @ mover.base


_TURNS = {
    # Which rotation brings the thin axis of a box to its own z, and the order of its sides then.
    0: (about("y", np.pi / 2), (2, 1, 0)),
    1: (about("x", np.pi / 2), (0, 2, 1)),
    2: (np.eye(3), (0, 1, 2)),
}


def box(center: Sequence[float], half: Sequence[float], paint: Paint) -> Part:
    """A cuboid along the axes."""
    rotation, order = _TURNS[min(range(3), key=half.__getitem__)]
    size = (float(half[order[0]]), float(half[order[1]]), float(half[order[2]]))
    return Part(
        "box", size, pose(rotation, np.asarray(center, dtype=float)), paint.surface, paint.color
    )


def rod(
    start: Sequence[float] | np.ndarray,
    end: Sequence[float] | np.ndarray,
    radius: float,
    paint: Paint,
    shape: str = "capsule",
) -> Part:
    """A capsule, or a cylinder, between two points."""
    a, b = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    along = b - a
    length = math.sqrt(along @ along)
    side = [0.0, 0.0, 1.0] if abs(along[2]) < 0.9 * length else [0.0, 1.0, 0.0]
    rotation = frame(-along, np.array(side))
    size = (radius, length / 2, 0.0)
    return Part(shape, size, pose(rotation, (a + b) / 2), paint.surface, paint.color)


def _bar(
    start: Sequence[float], end: Sequence[float], standoff: float, radius: float, paint: Paint
) -> list[Part]:
    """A handle in front (-y) of a face on which ``start`` and ``end`` lie."""
    a, b = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    out = np.array([0.0, -standoff, 0.0])
    inset = 0.12 * (b - a)
    return [
        _as_handle(rod(a + out, b + out, radius, paint)),
        _as_handle(rod(a + inset, a + inset + out, radius * 0.8, paint)),
        _as_handle(rod(b - inset, b - inset + out, radius * 0.8, paint)),
    ]


def _as_handle(part: Part) -> Part:
    return replace(part, label="handle")


_FORWARD = np.array([0.0, 1.0, 0.0])
_HORIZONTAL_BAR = frame(np.array([0.0, 0.97, -0.25]), np.array([0.0, 0.25, 1.0]))
_VERTICAL_BAR = frame(np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.1, 0.0]))
_POINTING = frame(np.array([0.0, 0.97, -0.2]), np.array([0.0, 0.2, 1.0]))


def _carcass(
    width: float, depth: float, height: float, wall: float, look: Look, shelves: int
) -> list[Part]:
    """Sides, back, top and bottom of a cabinet that is open in front."""
    w, d, h, t = width / 2, depth / 2, height, wall
    parts = [
        box((-w + t / 2, d, h / 2), (t / 2, d, h / 2), look.body),
        box((w - t / 2, d, h / 2), (t / 2, d, h / 2), look.body),
        box((0, d, t / 2), (w, d, t / 2), look.body),
        box((0, d, h - t / 2), (w, d, t / 2), look.body),
        box((0, depth - t / 2, h / 2), (w - t, t / 2, h / 2 - t), look.inside),
    ]
    for shelf in range(1, shelves + 1):
        z = h * shelf / (shelves + 1)
        parts.append(box((0, d + 0.01, z), (w - t, d - 0.01, 0.007), look.inside))
    return parts


def drawer_unit(
    width: float, depth: float, height: float, count: int, look: Look, knobs: bool
) -> Furniture:
    """Drawers one above the other."""
    wall = 0.014
    parts = _carcass(width, depth, height, wall, look, 0)
    movers = []
    names = {1: ["drawer"], 2: ["bottom drawer", "top drawer"]}.get(
        count, ["bottom drawer", "middle drawer", "top drawer"]
    )
    room = (height - 2 * wall) / count
    for index in range(count):
        half = room / 2 - 0.003
        w = width / 2 - wall - 0.002
        d = depth - 0.03
        own = [
            box((0, 0, 0), (w + 0.006, 0.008, half), look.front),
            box((0, d / 2, -half + 0.012), (w - 0.008, d / 2, 0.004), look.inside),
            box((0, d, -0.15 * half), (w - 0.008, 0.005, half * 0.7), look.inside),
            box((-w + 0.012, d / 2, -0.15 * half), (0.005, d / 2, half * 0.7), look.inside),
            box((w - 0.012, d / 2, -0.15 * half), (0.005, d / 2, half * 0.7), look.inside),
        ]
        if knobs:
            knob = rod((0, -0.03, 0), (0, -0.042, 0), 0.016, look.handle, "cylinder")
            own.append(_as_handle(rod((0, -0.008, 0), (0, -0.03, 0), 0.006, look.handle)))
            own.append(_as_handle(knob))
            handle, grip, radius = pose(_POINTING, np.array([0, -0.034, 0])), "knob", 0.016
        else:
            length = min(0.07, 0.3 * width)
            own += _bar((-length, -0.008, 0), (length, -0.008, 0), 0.042, 0.0075, look.handle)
            handle, grip, radius = pose(_HORIZONTAL_BAR, np.array([0, -0.05, 0])), "bar", 0.0075
        movers.append(
            Mover(
                "drawer",
                names[index],
                own,
                pose(None, np.array([0, -0.008, wall + room * (index + 0.5)])),
                -_FORWARD,
                True,
                0.62 * depth,
                handle,
                grip,  # type: ignore[arg-type]
                radius,
            )
        )
    return Furniture("drawers", parts, movers)


def _door(
    width: float, height: float, hinge_left: bool, look: Look, window: bool, style: int
) -> tuple[list[Part], np.ndarray]:
    """Solids of a door whose hinge is at the origin's vertical axis, and its handle's frame."""
    way = 1.0 if hinge_left else -1.0
    w, h, t = width / 2, height / 2, 0.009
    center = way * w
    parts = []
    if window:
        rim = 0.16 * min(width, height)
        parts += [
            box((center, 0, h - rim / 2), (w, t, rim / 2), look.front),
            box((center, 0, -h + rim / 2), (w, t, rim / 2), look.front),
            box((center - w + rim / 2, 0, 0), (rim / 2, t, h - rim), look.front),
            box((center + w - rim / 2, 0, 0), (rim / 2, t, h - rim), look.front),
            box((center, 0, 0), (w - rim, t * 0.5, h - rim), look.dark),
        ]
    else:
        parts.append(box((center, 0, 0), (w, t, h), look.front))
        if style == 1:
            parts.append(box((center, -t, 0), (w * 0.72, 0.004, h * 0.78), look.body))
    x = way * (width - 0.035)
    length = min(0.09, 0.35 * height)
    z = {0: 0.0, 1: -h * 0.35, 2: h * 0.35}[style % 3] if height > 0.3 else 0.0
    parts += _bar((x, -t, z - length), (x, -t, z + length), 0.042, 0.008, look.handle)
    return parts, pose(_VERTICAL_BAR, np.array([x, -t - 0.042, z]))


def hinged_cabinet(
    width: float,
    depth: float,
    height: float,
    doors: int,
    look: Look,
    hinge_left: bool,
    style: int,
    shelves: int,
) -> Furniture:
    """A cupboard with one or two doors."""
    parts = _carcass(width, depth, height, 0.016, look, shelves)
    movers = []
    for index in range(doors):
        left = hinge_left if doors == 1 else index == 0
        own, handle = _door(width / doors - 0.004, height - 0.006, left, look, False, style)
        x = -width / 2 + 0.002 if left else width / 2 - 0.002
        movers.append(
            Mover(
                "door",
                "cupboard door"
                if doors == 1
                else ("left" if index == 0 else "right") + " cupboard door",
                own,
                pose(None, np.array([x, -0.011, height / 2])),
                np.array([0.0, 0.0, -1.0 if left else 1.0]),
                False,
                1.75,
                handle,
                "bar",
                0.008,
            )
        )
    return Furniture("cupboard", parts, movers)


def sliding_cabinet(
    width: float, depth: float, height: float, look: Look, opens_left: bool, shelves: int
) -> Furniture:
    """A cupboard of which one half is covered by a door that slides before the other half."""
    parts = _carcass(width, depth, height, 0.016, look, shelves)
    way = -1.0 if opens_left else 1.0
    half = width / 4
    parts.append(
        box((way * half, -0.008, height / 2), (half, 0.008, height / 2 - 0.004), look.body)
    )
    own = [box((0, 0, 0), (half, 0.008, height / 2 - 0.004), look.front)]
    length = min(0.09, 0.35 * height)
    x = way * -0.6 * half
    own += _bar((x, -0.008, -length), (x, -0.008, length), 0.042, 0.008, look.handle)
    mover = Mover(
        "sliding door",
        "sliding door",
        own,
        pose(None, np.array([-way * half, -0.026, height / 2])),
        np.array([way, 0.0, 0.0]),
        True,
        1.75 * half,
        pose(_VERTICAL_BAR, np.array([x, -0.05, 0.0])),
        "bar",
        0.008,
    )
    return Furniture("sliding cabinet", parts, [mover])


def microwave(width: float, depth: float, height: float, look: Look, hinge_left: bool) -> Furniture:
    """A microwave oven: a door with a window, and a panel with a button and a knob."""
    panel = 0.24 * width
    way = 1.0 if hinge_left else -1.0
    parts = _carcass(width, depth, height, 0.02, look, 0)
    x = way * (width / 2 - panel / 2)
    parts.append(
        box(
            (x, depth / 2 - 0.01, height / 2), (panel / 2, depth / 2, height / 2 - 0.002), look.body
        )
    )
    parts.append(box((x, -0.012, height * 0.82), (panel * 0.36, 0.002, height * 0.06), look.dark))
    own, handle = _door(width - panel - 0.004, height - 0.008, hinge_left, look, True, 0)
    door = Mover(
        "door",
        "microwave door",
        own,
        pose(None, np.array([-way * (width / 2 - 0.002), -0.011, height / 2])),
        np.array([0.0, 0.0, -way]),
        False,
        1.7,
        handle,
        "bar",
        0.008,
    )
    knob = _knob("microwave knob", np.array([x, -0.01, height * 0.52]), 0.024, look)
    button = _button("microwave button", np.array([x, -0.01, height * 0.2]), 0.019, look.accent)
    return Furniture("microwave", parts, [door, knob, button])


def _knob(noun: str, where: np.ndarray, radius: float, look: Look) -> Mover:
    """A dial on a face towards -y, with a ridge that shows how it is turned."""
    own = [
        rod((0, 0.002, 0), (0, -0.018, 0), radius, look.handle, "cylinder"),
        box((0, -0.024, 0), (radius * 0.28, 0.008, radius * 0.98), look.handle),
        box((0, -0.0325, radius * 0.62), (radius * 0.2, 0.001, radius * 0.3), look.accent),
    ]
    grip = frame(np.array([0.0, 0.9, -0.4]), np.array([0.0, 0.4, 0.9]))
    return Mover(
        "knob",
        noun,
        own,
        pose(None, where),
        _FORWARD.copy(),
        False,
        1.6,
        pose(grip, np.array([0.0, -0.022, 0.0])),
        "knob",
        radius * 0.9,
    )


def _button(noun: str, where: np.ndarray, radius: float, paint: Paint) -> Mover:
    own = [rod((0, 0.012, 0), (0, -0.014, 0), radius, paint, "cylinder")]
    return Mover(
        "button",
        noun,
        own,
        pose(None, where),
        _FORWARD.copy(),
        True,
        0.012,
        pose(_POINTING, np.array([0.0, -0.014, 0.0])),
        "tip",
        radius,
    )


def stove(
    width: float, depth: float, height: float, count: int, look: Look, oven: bool, panel: bool
) -> Furniture:
    """Burners and a row of knobs, in front or on a panel behind; below, perhaps, an oven."""
    w = width / 2
    parts = [box((0, depth / 2, height / 2), (w, depth / 2, height / 2), look.body)]
    for x in (-0.45, 0.45):
        for y in (0.28, 0.74):
            where = np.array([x * w, y * depth, height])
            rings = ((0.085, look.dark), (0.06, look.body), (0.045, look.dark))
            for order, (radius, paint) in enumerate(rings):
                lift = 0.0005 * (order + 1)
                parts.append(
                    rod(where, where + np.array([0.0, 0.0, lift]), radius, paint, "cylinder")
                )
    names = {1: ["knob"], 2: ["left knob", "right knob"]}.get(
        count, ["left knob", "middle knob", "right knob"]
    )
    movers = []
    y, z = 0.0, height * 0.5
    if panel:
        y, z = depth - 0.05, height + 0.065
        parts.append(box((0, depth - 0.025, z), (w, 0.025, 0.06), look.front))
    for index in range(count):
        x = 0.0 if count == 1 else -0.62 * w + 1.24 * w * index / (count - 1)
        movers.append(_knob(names[index], np.array([x, y, z]), 0.026, look))
    if oven:
        h = 0.36
        own = [
            box((0, 0, h / 2), (w - 0.01, 0.01, h / 2 - 0.004), look.front),
            box((0, -0.01, h * 0.45), (w * 0.65, 0.003, h * 0.25), look.dark),
            *_bar(
                (-w * 0.6, -0.01, h * 0.86), (w * 0.6, -0.01, h * 0.86), 0.042, 0.008, look.handle
            ),
        ]
        parts += [
            Part(
                part.shape,
                part.size,
                pose(None, np.array([0, 0.012, -h - 0.01])) @ part.local,
                part.surface,
                part.color,
            )
            for part in _carcass(width, depth * 0.9, h + 0.01, 0.016, look, 1)
        ]
        movers.append(
            Mover(
                "door",
                "oven door",
                own,
                pose(None, np.array([0, 0.0, -h])),
                np.array([1.0, 0.0, 0.0]),
                False,
                1.35,
                pose(_HORIZONTAL_BAR, np.array([0, -0.052, h * 0.86])),
                "bar",
                0.008,
            )
        )
    return Furniture("stove", parts, movers)


def radio(look: Look) -> Furniture:
    """A radio: a loudspeaker between two knobs, and a button."""
    parts = [
        box((0, 0.05, 0.075), (0.14, 0.05, 0.075), look.body),
        box((0, -0.002, 0.095), (0.06, 0.002, 0.04), look.dark),
        rod((0.12, 0.08, 0.15), (0.02, 0.09, 0.33), 0.003, look.handle),
    ]
    movers = [
        _knob("left knob", np.array([-0.1, 0.0, 0.09]), 0.025, look),
        _knob("right knob", np.array([0.1, 0.0, 0.09]), 0.025, look),
        _button("radio button", np.array([0.0, 0.0, 0.028]), 0.018, look.accent),
    ]
    return Furniture("radio", parts, movers)


def knob_panel(count: int, look: Look) -> Furniture:
    """Knobs in a row on a board, such as a hood's or a heater's."""
    width = 0.11 * count + 0.04
    parts = [box((0, 0.012, 0.05), (width / 2, 0.012, 0.05), look.body)]
    names = {1: ["knob"], 2: ["left knob", "right knob"]}.get(
        count, ["left knob", "middle knob", "right knob"]
    )
    movers = [
        _knob(name, np.array([(index - (count - 1) / 2) * 0.11, 0.0, 0.05]), 0.027, look)
        for index, name in enumerate(names)
    ]
    return Furniture("knobs", parts, movers)


def switch_plate(count: int, look: Look) -> Furniture:
    """Light switches on a plate; a switch that is down is off."""
    width = 0.09 * count
    parts = [box((0, 0.0, 0.06), (width / 2, 0.006, 0.065), look.front)]
    names = {1: ["light switch"], 2: ["left light switch", "right light switch"]}[count]
    movers = []
    for index in range(count):
        x = (index - (count - 1) / 2) * 0.085
        own = [box((0, -0.014, 0.0), (0.016, 0.026, 0.014), look.accent)]
        movers.append(
            Mover(
                "switch",
                names[index],
                own,
                pose(about("x", 0.55), np.array([x, -0.004, 0.06])),
                np.array([-1.0, 0.0, 0.0]),
                False,
                1.1,
                pose(_POINTING, np.array([0.0, -0.042, 0.0])),
                "tip",
                0.014,
            )
        )
    return Furniture("switches", parts, movers)


def button_box(colors: Sequence[tuple[str, Paint]], look: Look) -> Furniture:
    """A sloping box with colored buttons in a row."""
    width = 0.075 * len(colors) + 0.02
    parts = [box((0, 0.05, 0.04), (width / 2, 0.05, 0.04), look.body)]
    movers = []
    for index, (name, paint) in enumerate(colors):
        x = (index - (len(colors) - 1) / 2) * 0.075
        movers.append(_button(f"{name} button", np.array([x, 0.0, 0.045]), 0.022, paint))
    return Furniture("buttons", parts, movers)


def chest(width: float, depth: float, height: float, look: Look) -> Furniture:
    """A box with a lid hinged at its back."""
    w, t = width / 2, 0.01
    parts = [
        box((0, depth / 2, t / 2), (w, depth / 2, t / 2), look.inside),
        box((0, t / 2, height / 2), (w, t / 2, height / 2), look.front),
        box((0, depth - t / 2, height / 2), (w, t / 2, height / 2), look.front),
        box((-w + t / 2, depth / 2, height / 2), (t / 2, depth / 2, height / 2), look.body),
        box((w - t / 2, depth / 2, height / 2), (t / 2, depth / 2, height / 2), look.body),
    ]
    own = [
        box((0, -depth / 2 - 0.004, 0.009), (w + 0.006, depth / 2 + 0.006, 0.009), look.front),
        *_bar(
            (-0.05, -depth - 0.008, 0.009), (0.05, -depth - 0.008, 0.009), 0.036, 0.007, look.handle
        ),
    ]
    mover = Mover(
        "lid",
        "box lid",
        own,
        pose(None, np.array([0, depth, height])),
        np.array([-1.0, 0.0, 0.0]),
        False,
        1.25,
        pose(_HORIZONTAL_BAR, np.array([0, -depth - 0.044, 0.009])),
        "bar",
        0.007,
    )
    return Furniture("box", parts, [mover])
