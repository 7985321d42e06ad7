"""The vocabulary of objects: their names, how they are held, and which colors they have."""

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pretrain.clips.synthetic.meshes import all_meshes

Hold = Literal["around", "above", "both"]
"""From the side with all fingers around it, from above between thumb and fingers, or two hands."""

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.10, 0.09),
    "green": (0.13, 0.52, 0.18),
    "blue": (0.12, 0.26, 0.75),
    "yellow": (0.93, 0.80, 0.12),
    "white": (0.95, 0.95, 0.93),
    "black": (0.10, 0.10, 0.11),
    "orange": (0.95, 0.45, 0.06),
    "purple": (0.45, 0.18, 0.62),
    "brown": (0.42, 0.25, 0.13),
    "grey": (0.52, 0.52, 0.54),
    "pink": (0.95, 0.55, 0.68),
}


@dataclass(frozen=True)
class ObjectKind:
    """A kind of object.

    Attributes:
        name: in captions.
        mesh: its shape.
        hold: how it is taken.
        domains: ``kitchen``, ``other`` or both.
        colors: those it may have.
        families: of surfaces.
        pours: whether something can be poured from it.
        receives: whether something can be poured into it.
    """

    name: str
    mesh: str
    hold: Hold
    domains: tuple[str, ...] = ("kitchen",)
    colors: tuple[str, ...] = tuple(COLORS)
    families: tuple[str, ...] = ("glaze", "stripes", "dots", "band", "checks")
    pours: bool = False
    receives: bool = False

    @functools.cached_property
    def extent(self) -> np.ndarray:
        """Width, depth, height, meters."""
        return all_meshes()[self.mesh].extent

    @functools.cached_property
    def radius(self) -> float:
        """Of the circle around its outline on the table, meters."""
        return 0.5 * math.hypot(self.extent[0], self.extent[1])


_BOTH = ("kitchen", "other")
_OTHER = ("other",)
_PLAIN = ("glaze",)
_PACKED = ("band", "stripes", "dots")
_METAL = ("grey", "white", "black")


def _kinds() -> tuple[ObjectKind, ...]:
    kind = ObjectKind
    return (
        kind("apple", "apple", "above", colors=("red", "green", "yellow"), families=_PLAIN),
        kind("banana", "banana", "above", colors=("yellow",), families=_PLAIN),
        kind("bowl", "bowl", "both", receives=True),
        kind("cup", "cup", "around", _BOTH, pours=True, receives=True),
        kind("mug", "mug", "around", _BOTH, pours=True, receives=True),
        kind("frying pan", "fryingpan", "both", colors=(*_METAL, "red"), families=_PLAIN),
        kind("knife", "knife", "above", colors=_METAL, families=_PLAIN),
        kind("teapot", "teapot", "both"),
        kind("water bottle", "waterbottle", "around", _BOTH, pours=True),
        kind(
            "wine glass",
            "wineglass",
            "around",
            colors=("white", "blue", "green", "pink"),
            receives=True,
        ),
        kind("plate", "plate", "both"),
        kind("jar", "jar", "around", _BOTH, families=_PACKED),
        kind("can", "can", "around", families=_PACKED, pours=True),
        kind("pot", "pot", "both", colors=(*_METAL, "red", "blue"), families=_PLAIN, receives=True),
        kind(
            "bottle",
            "bottle",
            "around",
            colors=("green", "brown", "blue", "white", "red"),
            families=("band",),
            pours=True,
        ),
        kind(
            "glass",
            "glass",
            "around",
            colors=("white", "blue", "green", "orange"),
            pours=True,
            receives=True,
        ),
        kind("jug", "jug", "around", pours=True, receives=True),
        kind(
            "kettle", "kettle", "both", colors=(*_METAL, "red", "green", "yellow"), families=_PLAIN
        ),
        kind("salt shaker", "salt shaker", "above"),
        kind("cereal box", "cereal box", "around", families=_PACKED, pours=True),
        kind("milk carton", "milk carton", "around", families=_PACKED, pours=True),
        kind(
            "sponge",
            "sponge",
            "above",
            colors=("yellow", "green", "pink", "blue"),
            families=("grain",),
        ),
        kind("lunch box", "lunch box", "both", _BOTH),
        kind("spoon", "spoon", "above", colors=(*_METAL, "brown"), families=("glaze", "grain")),
        kind(
            "rolling pin",
            "rolling pin",
            "both",
            colors=("brown", "yellow", "white"),
            families=("grain",),
        ),
        kind("thermos", "thermos", "around", _BOTH),
        kind("tray", "tray", "both", _BOTH),
        kind("alarm clock", "alarmclock", "above", _OTHER),
        kind("binoculars", "binoculars", "above", _OTHER, colors=("black", "green", "brown")),
        kind("camera", "camera", "above", _OTHER, colors=("black", "grey", "red")),
        kind("rubber duck", "duck", "above", _OTHER, colors=("yellow", "orange", "pink")),
        kind("toy elephant", "elephant", "above", _OTHER, colors=("grey", "blue", "pink")),
        kind("torch", "flashlight", "above", _OTHER),
        kind("flute", "flute", "above", _OTHER),
        kind("game controller", "gamecontroller", "both", _OTHER),
        kind("hammer", "hammer", "above", _OTHER, families=_PLAIN),
        kind("headphones", "headphones", "above", _OTHER),
        kind(
            "light bulb", "lightbulb", "above", _OTHER, colors=("white", "yellow"), families=_PLAIN
        ),
        kind("computer mouse", "mouse", "above", _OTHER, families=_PLAIN),
        kind("phone", "phone", "above", _BOTH, families=_PLAIN),
        kind("piggy bank", "piggybank", "both", _OTHER),
        kind("scissors", "scissors", "above", _BOTH, families=_PLAIN),
        kind("stapler", "stapler", "above", _OTHER, families=_PLAIN),
        kind("toothbrush", "toothbrush", "above", _OTHER),
        kind("toothpaste", "toothpaste", "around", _OTHER, families=_PACKED),
        kind("toy train", "train", "above", _OTHER),
        kind("toy rabbit", "stanfordbunny", "above", _OTHER),
        kind("candle", "candle", "above", _OTHER),
        kind(
            "flower pot", "flower pot", "both", _BOTH, colors=("brown", "orange", "white", "blue")
        ),
        kind("spray bottle", "spray bottle", "around", _BOTH, families=_PACKED),
        kind("ball", "ball", "above", _OTHER),
        kind("book", "book", "above", _OTHER, families=_PACKED),
        kind("tissue box", "tissue box", "both", _OTHER, families=_PACKED),
        kind("screwdriver", "screwdriver", "above", _OTHER, families=_PLAIN),
    )


OBJECT_KINDS: dict[str, ObjectKind] = {kind.name: kind for kind in _kinds()}
