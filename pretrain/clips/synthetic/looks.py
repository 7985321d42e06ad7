"""The same picture under another look: other lights and colors, and nothing else.

What a policy has to know does not change with the lamp or the paint, and a frozen encoder should
not either. Augmentation of finished images can only imitate that; a simulator draws it.
"""

import colorsys
import dataclasses
from collections.abc import Sequence

import numpy as np

from pretrain.clips.synthetic.stage import Light, Part, Picture
from pretrain.clips.synthetic.textures import Surface

_STRONG_SHARE = 0.5
"""Of pictures whose colors are drawn anew; in the others they stay near what they were."""

_OTHER_SURFACE_SHARE = 0.5
"""Of the surfaces of a strong change that get another texture."""

Color = tuple[float, float, float, float]


def another_look(rng: np.random.Generator, picture: Picture, bank: Sequence[Surface]) -> Picture:
    """A picture with the same things, hands and camera under another look.

    All parts of one surface and color change alike, so that a cabinet stays of one piece. Half of
    the pictures change a little (hue by up to 29 degrees, lights by 30 %), half of them altogether:
    any hue, other textures, 0.45 to 1.6 of the light, tinted.

    Args:
        rng: what is drawn comes from it.
        picture: is left as it is.
        bank: the surfaces that its parts name.
    """
    strong = bool(rng.random() < _STRONG_SHARE)
    paints: dict[tuple[int, Color], tuple[int, Color]] = {}

    def painted(part: Part) -> Part:
        own = (part.surface, part.color)
        if own not in paints:
            paints[own] = (_surface(rng, part.surface, bank, strong), _color(rng, own[1], strong))
        surface, color = paints[own]
        return dataclasses.replace(part, surface=surface, color=color)

    things = [
        thing
        if thing.is_shadow
        else dataclasses.replace(thing, parts=[painted(part) for part in thing.parts])
        for thing in picture.things
    ]
    strength = rng.uniform(0.45, 1.6) if strong else rng.uniform(0.7, 1.3)
    tint = rng.uniform(0.8, 1.2, 3) if strong else rng.uniform(0.94, 1.06, 3)
    moved = 0.6 if strong else 0.3
    return dataclasses.replace(
        picture,
        things=things,
        lights=[_light(rng, light, strength * tint, moved) for light in picture.lights],
        ambient=_dimmed(rng, picture.ambient, strength),
        headlight=_dimmed(rng, picture.headlight, strength),
        skin=_color(rng, (*picture.skin, 1.0), False)[:3],
    )


def _surface(rng: np.random.Generator, own: int, bank: Sequence[Surface], strong: bool) -> int:
    """The same texture, or another one that fits on the same shapes."""
    if own < 0 or not strong or rng.random() >= _OTHER_SURFACE_SHARE:
        return own
    fitting = [i for i, one in enumerate(bank) if one.coordinates == bank[own].coordinates]
    return int(rng.choice(fitting))


def _color(rng: np.random.Generator, own: Color, strong: bool) -> Color:
    hue, saturation, value = colorsys.rgb_to_hsv(*np.clip(own[:3], 0, 1))
    if strong:
        hue = rng.random()
        saturation = saturation * rng.uniform(0.3, 2.0) + rng.uniform(0.0, 0.3)
        value *= rng.uniform(0.55, 1.3)
    else:
        hue = (hue + rng.uniform(-0.08, 0.08)) % 1.0
        saturation = saturation * rng.uniform(0.7, 1.3) + rng.uniform(0.0, 0.15)
        value *= rng.uniform(0.8, 1.1)
    red, green, blue = colorsys.hsv_to_rgb(
        hue, float(np.clip(saturation, 0, 1)), float(np.clip(value, 0.05, 1))
    )
    return (red, green, blue, own[3])


def _light(rng: np.random.Generator, own: Light, factor: np.ndarray, moved: float) -> Light:
    color = np.clip(own.color * factor * rng.uniform(0.8, 1.2), 0.0, 1.5)
    return dataclasses.replace(own, position=own.position + rng.normal(size=3) * moved, color=color)


def _dimmed(rng: np.random.Generator, own: float, strength: float) -> float:
    return float(np.clip(own * strength * rng.uniform(0.8, 1.2), 0.0, 1.0))
