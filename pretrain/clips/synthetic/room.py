"""Rooms: a counter or desk before a wall, furniture on, below and above it, and things to handle.

The counter's top is z = 0, its front edge y = 0; who wears the camera stands at y < 0 and looks
along +y. Meters throughout.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pretrain.clips.synthetic import furniture
from pretrain.clips.synthetic.furniture import Furniture, Look, Mover, Paint, box
from pretrain.clips.synthetic.objects import COLORS, OBJECT_KINDS, ObjectKind
from pretrain.clips.synthetic.poses import about, pose
from pretrain.clips.synthetic.stage import Light, Part
from pretrain.clips.synthetic.textures import FAMILIES_OF_ROOMS, Surface

Domain = Literal["kitchen", "other"]

FIRST_TRACK = 2
"""Tracks 0 and 1 are the left and the right hand."""

SKINS = (
    (0.95, 0.78, 0.68),
    (0.87, 0.67, 0.54),
    (0.76, 0.55, 0.42),
    (0.60, 0.41, 0.29),
    (0.42, 0.28, 0.20),
    (0.30, 0.19, 0.14),
)


@dataclass
class Item:
    """An object on the counter.

    Attributes:
        kind: what it is.
        color: its color's name.
        part: how it is drawn, in its own frame, which is the middle of its bounding box.
        position: of the middle, meters.
        yaw: turn about the vertical, radians.
        track: number in masks and boxes.
    """

    kind: ObjectKind
    color: str
    part: Part
    position: np.ndarray
    yaw: float
    track: int

    @property
    def noun(self) -> str:
        """As captions call it."""
        return f"{self.color} {self.kind.name}"

    @property
    def pose(self) -> np.ndarray:
        """At rest, float (4, 4)."""
        return pose(about("z", self.yaw), self.position)


@dataclass
class Room:
    """Everything but hands and camera, at rest."""

    domain: Domain
    parts: list[Part]
    movers: list[Mover]
    values: np.ndarray
    items: list[Item]
    lights: list[Light]
    ambient: float
    headlight: float
    depth: float
    skin: tuple[float, float, float]
    sleeve: Paint | None
    sleeve_length: str
    blobs: float
    footprints: list[tuple[float, float, float, float]] = field(default_factory=list)


_WITH_KNOBS = ("stove", "microwave", "radio")
_WITH_BUTTONS = ("buttons", "microwave", "radio")


def _opaque(color: np.ndarray) -> tuple[float, float, float, float]:
    return (float(color[0]), float(color[1]), float(color[2]), 1.0)


class RoomMaker:
    """Draws rooms at random from a bank of surfaces.

    Args:
        bank: surfaces of the split.
    """

    def __init__(self, bank: Sequence[Surface]) -> None:
        self._families: dict[str, list[int]] = {}
        for index, surface in enumerate(bank):
            self._families.setdefault(surface.family, []).append(index)

    def surface(self, rng: np.random.Generator, families: Sequence[str]) -> int:
        """Index of a surface of one of the families."""
        family = families[int(rng.integers(len(families)))]
        return int(rng.choice(self._families[family]))

    def _paint(
        self,
        rng: np.random.Generator,
        families: Sequence[str],
        low: float = 0.3,
        high: float = 0.95,
    ) -> Paint:
        surface = self.surface(rng, families)
        if surface in self._families["wood"]:
            browns = ((0.72, 0.5, 0.3), (0.95, 0.75, 0.5), (0.45, 0.28, 0.17), (0.85, 0.8, 0.72))
            base = np.array(browns[int(rng.integers(len(browns)))]) * rng.uniform(0.8, 1.15)
        elif rng.random() < 0.45:
            base = np.full(3, rng.uniform(low, high)) * rng.uniform(0.93, 1.07, 3)
        else:
            base = rng.uniform(low * 0.75, 1.0, 3)
        color = np.clip(base, 0.03, 1.0)
        return Paint(surface, _opaque(color))

    def _look(self, rng: np.random.Generator) -> Look:
        front = self._paint(rng, ("wood", "plaster", "plaster", "metal", "speckle"), 0.15)
        body = front if rng.random() < 0.5 else self._paint(rng, ("wood", "plaster", "metal"), 0.15)
        metal = float(rng.uniform(0.15, 0.9))
        handle_color = (metal, metal, metal * rng.uniform(0.85, 1.0), 1.0)
        if rng.random() < 0.15:
            handle_color = _opaque(rng.uniform(0.1, 0.9, 3))
        accent = COLORS[str(rng.choice(["red", "white", "black", "yellow", "blue"]))]
        return Look(
            front=front,
            body=body,
            inside=self._paint(rng, ("wood", "plaster"), 0.25, 0.7),
            handle=Paint(self.surface(rng, ("metal",)), handle_color),
            dark=Paint(-1, (0.07, 0.07, 0.08, 1.0)),
            accent=Paint(-1, (*accent, 1.0)),
        )

    def make(self, rng: np.random.Generator, domain: Domain, action: str) -> Room:
        """A room of that domain, likely to have what an action needs."""
        depth = float(rng.uniform(0.52, 0.68))
        look = self._look(rng)
        parts = self._shell(rng, depth)
        pieces: list[Furniture] = []
        footprints: list[tuple[float, float, float, float]] = []
        self._below(rng, depth, look, parts, pieces)
        if rng.random() < 0.8:
            self._above(rng, depth, look, pieces)
        self._standing(rng, domain, action, depth, look, pieces, footprints)
        self._on_wall(rng, action, depth, pieces)
        for piece in pieces:
            parts += piece.parts
        movers = [mover for piece in pieces for mover in piece.movers]
        values = np.array([self._rest(rng, mover) for mover in movers])
        items = self._items(rng, domain, action, depth, footprints)
        for index, mover in enumerate(movers):
            mover.track = FIRST_TRACK + len(items) + index
        skin = np.array(SKINS[int(rng.integers(len(SKINS)))]) * rng.uniform(0.93, 1.06)
        sleeve = None
        if rng.random() < 0.62:
            color = rng.uniform(0.08, 0.95, 3)
            sleeve = Paint(self.surface(rng, ("cloth", "plaster")), _opaque(color))
        return Room(
            domain=domain,
            parts=parts,
            movers=movers,
            values=values,
            items=items,
            lights=self._lights(rng),
            ambient=float(rng.uniform(0.3, 0.55)),
            headlight=float(rng.uniform(0.2, 0.5)),
            depth=depth,
            skin=(float(min(skin[0], 1)), float(skin[1]), float(skin[2])),
            sleeve=sleeve,
            sleeve_length=str(rng.choice(["long", "middle", "short"])),
            blobs=float(rng.uniform(0.15, 0.4)) if rng.random() < 0.8 else 0.0,
            footprints=footprints,
        )

    def _rest(self, rng: np.random.Generator, mover: Mover) -> float:
        if mover.kind in ("switch",):
            return float(rng.choice([0.0, mover.limit]))
        if mover.kind in ("knob", "button"):
            return 0.0
        return float(mover.limit * rng.uniform(0.15, 0.9)) if rng.random() < 0.12 else 0.0

    def _shell(self, rng: np.random.Generator, depth: float) -> list[Part]:
        wall = self._paint(rng, ("plaster", "plaster", "tile", "wood", "speckle"), 0.45)
        side = wall if rng.random() < 0.6 else self._paint(rng, ("plaster", "tile"), 0.4)
        floor = self._paint(rng, ("wood", "tile", "stone", "speckle", "cloth"), 0.25)
        top = self._paint(rng, FAMILIES_OF_ROOMS[:5], 0.2)
        left, right = -rng.uniform(1.3, 2.4), rng.uniform(1.3, 2.4)
        parts = [
            box((0, 0, -0.95), (4, 4, 0.05), floor),
            box((0, depth + 0.05, 0.6), (4, 0.05, 1.55), wall),
            box((left, 0, 0.6), (0.05, 4, 1.55), side),
            box((right, 0, 0.6), (0.05, 4, 1.55), side),
            box((0, 0, 1.75), (4, 4, 0.05), self._paint(rng, ("plaster",), 0.7)),
            box((0, -2.6, 0.6), (4, 0.05, 1.55), side),
            box(((left + right) / 2, depth / 2, -0.02), ((right - left) / 2, depth / 2, 0.02), top),
        ]
        if rng.random() < 0.35:
            tiles = self._paint(rng, ("tile", "stone"), 0.3)
            height = rng.uniform(0.1, 0.4)
            parts.append(box((0, depth - 0.004, height / 2), (2.3, 0.006, height / 2), tiles))
        if rng.random() < 0.3:
            x = rng.uniform(-0.5, 0.5)
            glow = Paint(-1, (0.75, 0.85, 0.95, 1.0))
            frame_paint = self._paint(rng, ("wood", "plaster"), 0.5)
            parts.append(box((x, depth - 0.002, 0.75), (0.36, 0.006, 0.4), frame_paint))
            parts.append(box((x, depth - 0.012, 0.75), (0.32, 0.004, 0.36), glow))
        if rng.random() < 0.3:
            # A mat on the counter.
            mat = self._paint(rng, ("cloth", "plaster"), 0.2)
            parts.append(
                box(
                    (rng.uniform(-0.15, 0.15), depth * 0.45, 0.001),
                    (rng.uniform(0.2, 0.4), depth * 0.36, 0.0012),
                    mat,
                )
            )
        return parts

    def _below(
        self,
        rng: np.random.Generator,
        depth: float,
        look: Look,
        parts: list[Part],
        pieces: list[Furniture],
    ) -> None:
        """Cabinets below the counter, around where one stands."""
        width = rng.uniform(0.44, 0.62)
        height = 0.78
        low = -0.04 - height
        parts.append(box((0, depth / 2 + 0.08, -0.87), (2.4, depth / 2, 0.05), look.dark))
        start = -1.5 * width + rng.uniform(-0.2, 0.2)
        for index in range(3):
            x = start + (index + 0.5) * width
            where = pose(None, np.array([x, 0.03, low]))
            kind = rng.random()
            if kind < 0.45:
                count = int(rng.choice([2, 3]))
                piece = furniture.drawer_unit(
                    width, depth * 0.9, height, count, look, rng.random() < 0.3
                )
            else:
                doors = 1 if rng.random() < 0.5 else 2
                piece = furniture.hinged_cabinet(
                    width,
                    depth * 0.9,
                    height,
                    doors,
                    look,
                    rng.random() < 0.5,
                    int(rng.integers(3)),
                    1,
                )
            piece.place(where)
            pieces.append(piece)
        for way in (-1.0, 1.0):
            edge = start if way < 0 else start + 3 * width
            parts.append(
                box((edge + way * 0.7, depth / 2 + 0.03, -0.44), (0.7, depth / 2, 0.4), look.front)
            )

    def _above(
        self, rng: np.random.Generator, depth: float, look: Look, pieces: list[Furniture]
    ) -> None:
        """Cupboards on the wall."""
        bottom = float(rng.uniform(0.34, 0.52))
        height = float(rng.uniform(0.32, 0.6))
        deep = float(rng.uniform(0.24, 0.34))
        width = rng.uniform(0.42, 0.6)
        if rng.random() < 0.4:
            look = self._look(rng)
        count = int(rng.choice([2, 3]))
        start = -count / 2 * width + rng.uniform(-0.25, 0.25)
        for index in range(count):
            where = pose(None, np.array([start + (index + 0.5) * width, depth - deep, bottom]))
            kind = rng.random()
            if kind < 0.55:
                piece = furniture.hinged_cabinet(
                    width,
                    deep,
                    height,
                    1 if rng.random() < 0.6 else 2,
                    look,
                    rng.random() < 0.5,
                    int(rng.integers(3)),
                    1,
                )
            elif kind < 0.85:
                piece = furniture.sliding_cabinet(
                    width * 1.0, deep, height, look, rng.random() < 0.5, 1
                )
            else:
                piece = Furniture(
                    "shelf", [box((0, deep / 2, 0.01), (width / 2, deep / 2, 0.01), look.body)], []
                )
            piece.place(where)
            pieces.append(piece)

    def _standing(
        self,
        rng: np.random.Generator,
        domain: Domain,
        action: str,
        depth: float,
        look: Look,
        pieces: list[Furniture],
        footprints: list[tuple[float, float, float, float]],
    ) -> None:
        """Furniture on the counter, left and right of the middle."""
        kinds = ["drawers", "cupboard", "sliding", "chest", "buttons"]
        kinds += ["microwave", "microwave", "stove", "stove"] if domain == "kitchen" else ["radio"]
        wanted = {"turn": _WITH_KNOBS, "press": _WITH_BUTTONS}.get(action, ())
        needed = [kind for kind in dict.fromkeys(kinds) if kind in wanted]
        for way in rng.permutation([-1.0, 1.0])[: int(rng.choice([1, 2], p=[0.35, 0.65]))]:
            kind = str(rng.choice(needed or kinds))
            needed = []
            kinds = [other for other in kinds if other != kind]
            own = self._look(rng) if rng.random() < 0.6 else look
            piece, width, deep = self._one_standing(rng, kind, own, way)
            x = way * (rng.uniform(0.2, 0.34) + width / 2)
            turn = -way * rng.uniform(0.0, 0.45) if kind not in ("stove",) else 0.0
            y = min(rng.uniform(0.12, 0.3), depth - deep - 0.02)
            z = 0.0
            if kind == "stove":
                # Its top lies on the counter's.
                y, z = -0.012, -0.0888
            piece.place(pose(about("z", turn), np.array([x, y, z])))
            pieces.append(piece)
            reach = width / 2 + 0.04
            if kind != "stove":
                footprints.append((x - reach, x + reach, y - 0.06, y + deep + 0.05))
            else:
                footprints.append((x - reach, x + reach, -0.05, 0.1))

    def _one_standing(
        self, rng: np.random.Generator, kind: str, look: Look, way: float
    ) -> tuple[Furniture, float, float]:
        if kind == "drawers":
            width, deep = rng.uniform(0.3, 0.4), rng.uniform(0.24, 0.3)
            count = int(rng.choice([1, 2, 3]))
            return (
                furniture.drawer_unit(
                    width, deep, 0.115 * count + 0.03, count, look, rng.random() < 0.35
                ),
                width,
                deep,
            )
        if kind == "cupboard":
            width, deep = rng.uniform(0.3, 0.42), rng.uniform(0.22, 0.3)
            piece = furniture.hinged_cabinet(
                width,
                deep,
                rng.uniform(0.28, 0.42),
                1 if rng.random() < 0.6 else 2,
                look,
                way < 0,
                int(rng.integers(3)),
                1,
            )
            return piece, width, deep
        if kind == "sliding":
            width, deep = rng.uniform(0.4, 0.52), rng.uniform(0.2, 0.28)
            return (
                furniture.sliding_cabinet(
                    width, deep, rng.uniform(0.25, 0.36), look, rng.random() < 0.5, 1
                ),
                width,
                deep,
            )
        if kind == "chest":
            width, deep = rng.uniform(0.26, 0.36), rng.uniform(0.2, 0.26)
            return furniture.chest(width, deep, rng.uniform(0.12, 0.2), look), width, deep
        if kind == "buttons":
            names = [
                str(name)
                for name in rng.choice(
                    ["red", "green", "blue", "yellow", "white"], 3, replace=False
                )
            ]
            count = int(rng.choice([1, 2, 3]))
            paints = [(name, Paint(-1, (*COLORS[name], 1.0))) for name in names[:count]]
            return furniture.button_box(paints, look), 0.075 * count + 0.02, 0.1
        if kind == "radio":
            return furniture.radio(look), 0.28, 0.1
        if kind == "microwave":
            width, deep = rng.uniform(0.42, 0.52), rng.uniform(0.28, 0.34)
            return (
                furniture.microwave(width, deep, rng.uniform(0.24, 0.3), look, rng.random() < 0.8),
                width,
                deep,
            )
        width = rng.uniform(0.5, 0.6)
        count = int(rng.choice([2, 3]))
        oven, panel = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
        return furniture.stove(width, 0.5, 0.09, count, look, oven, panel), width, 0.5

    def _on_wall(
        self, rng: np.random.Generator, action: str, depth: float, pieces: list[Furniture]
    ) -> None:
        """Light switches and knobs on the wall behind the counter."""
        if rng.random() < (0.5 if action == "turn" else 0.2):
            board = furniture.knob_panel(int(rng.choice([1, 2, 3])), self._look(rng))
            x, z = rng.uniform(-0.4, 0.4), rng.uniform(0.16, 0.3)
            board.place(pose(None, np.array([x, depth - 0.026, z])))
            pieces.append(board)
            if action != "flip":
                return
        if action == "flip" or rng.random() < 0.45:
            plain = self._look(rng)
            piece = furniture.switch_plate(int(rng.choice([1, 2], p=[0.6, 0.4])), plain)
            piece.place(
                pose(
                    None,
                    np.array([rng.uniform(-0.45, 0.45), depth - 0.006, rng.uniform(0.14, 0.24)]),
                )
            )
            pieces.append(piece)

    def _items(
        self,
        rng: np.random.Generator,
        domain: Domain,
        action: str,
        depth: float,
        footprints: list[tuple[float, float, float, float]],
    ) -> list[Item]:
        kinds = [kind for kind in OBJECT_KINDS.values() if domain in kind.domains]
        names = [str(name) for name in rng.permutation([kind.name for kind in kinds])]
        if action == "pour":
            pouring = str(rng.choice([kind.name for kind in kinds if kind.pours]))
            receiving = str(rng.choice([k.name for k in kinds if k.receives and k.name != pouring]))
            names = [pouring, receiving, *names]
        items: list[Item] = []
        count = int(rng.integers(3, 8))
        for name in dict.fromkeys(names):
            if len(items) >= count:
                break
            kind = OBJECT_KINDS[name]
            place = self._free_place(rng, kind, depth, items, footprints)
            if place is None:
                continue
            color = str(rng.choice(kind.colors))
            items.append(
                self.item(rng, kind, color, np.array(place[0]), place[1], FIRST_TRACK + len(items))
            )
        return items

    def held(self, rng: np.random.Generator, room: Room) -> Item:
        """Something more, for an idle hand to hold; of a kind that the room does not have."""
        there = {item.kind.name for item in room.items}
        kinds = [
            kind
            for kind in OBJECT_KINDS.values()
            if room.domain in kind.domains and kind.hold == "around" and kind.name not in there
        ]
        kind = kinds[int(rng.integers(len(kinds)))]
        track = FIRST_TRACK + len(room.items) + len(room.movers)
        return self.item(rng, kind, str(rng.choice(kind.colors)), np.zeros(3), 0.0, track)

    def item(
        self,
        rng: np.random.Generator,
        kind: ObjectKind,
        color: str,
        position: np.ndarray,
        yaw: float,
        track: int,
    ) -> Item:
        """An object of that color, with a surface of its own."""
        shade = np.clip(np.array(COLORS[color]) * rng.uniform(0.85, 1.1), 0, 1)
        rgba = _opaque(shade)
        part = Part(kind.mesh, (0.1, 0.1, 0.1), np.eye(4), self.surface(rng, kind.families), rgba)
        return Item(kind, color, part, position, yaw, track)

    def _free_place(
        self,
        rng: np.random.Generator,
        kind: ObjectKind,
        depth: float,
        items: list[Item],
        footprints: list[tuple[float, float, float, float]],
    ) -> tuple[tuple[float, float, float], float] | None:
        extent = kind.extent
        radius = kind.radius
        low, high = 0.06 + extent[1] / 2, min(0.46, depth - radius)
        places = rng.uniform((-0.42, low), (0.42, high), (12, 2))
        yaw = float(rng.uniform(-0.6, 0.6)) + (np.pi if rng.random() < 0.5 else 0.0)
        for x, y in places.tolist():
            clear = all(
                math.hypot(x - item.position[0], y - item.position[1])
                > 0.8 * (radius + item.kind.radius) + 0.02
                for item in items
            ) and all(
                not (x0 - radius < x < x1 + radius and y0 - radius < y < y1 + radius)
                for x0, x1, y0, y1 in footprints
            )
            if clear:
                return (x, y, float(extent[2]) / 2), yaw
        return None

    def _lights(self, rng: np.random.Generator) -> list[Light]:
        lights = []
        for _ in range(int(rng.choice([1, 2, 3], p=[0.3, 0.5, 0.2]))):
            kind = str(rng.choice(["point", "spot", "directional"], p=[0.5, 0.25, 0.25]))
            position = np.array(
                [rng.uniform(-1.2, 1.2), rng.uniform(-1.0, 0.4), rng.uniform(0.9, 1.6)]
            )
            aim = np.array([rng.uniform(-0.3, 0.3), rng.uniform(0.1, 0.4), 0.0])
            color = rng.uniform(0.25, 0.6) * np.array(
                [1.0, rng.uniform(0.88, 1.0), rng.uniform(0.75, 1.05)]
            )
            lights.append(
                Light(position, (aim - position) / np.linalg.norm(aim - position), color, kind)
            )
        return lights
