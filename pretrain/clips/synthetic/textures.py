"""Procedural surfaces: pictures that repeat without a seam, made of noise and regular patterns.

Each split has a bank of its own, so that the surfaces of held-out scenes are new as well. What is
drawn is a picture of the bank times a color.
"""

from dataclasses import dataclass

import numpy as np

SIZE = 128
"""Side of a picture, pixels."""


@dataclass(frozen=True)
class Surface:
    """A material of the bank.

    Attributes:
        family: what it may be used for, such as ``wood`` or ``stripes``.
        image: uint8 (128, 128, 3).
        repeat: pictures a meter on boxes and the like; pictures round and up on meshes with
            texture coordinates.
        specular: strength of highlights.
        coordinates: for meshes that bring texture coordinates.
    """

    family: str
    image: np.ndarray
    repeat: tuple[float, float]
    specular: float
    coordinates: bool


FAMILIES_OF_ROOMS = ("wood", "stone", "tile", "cloth", "speckle", "plaster", "metal")
FAMILIES_OF_OBJECTS = ("glaze", "stripes", "dots", "band", "checks", "grain")


def _noise(rng: np.random.Generator, slope: float = 1.1, stretch: float = 1.0) -> np.ndarray:
    """Fractal noise (128, 128) from 0 to 1, drawn out along the rows by ``stretch``."""
    fy = np.fft.fftfreq(SIZE)[:, None]
    fx = np.fft.rfftfreq(SIZE)[None] * stretch
    radius = np.hypot(fy, fx)
    radius[0, 0] = 1.0
    spectrum = rng.normal(size=radius.shape) * np.exp(2j * np.pi * rng.random(radius.shape))
    values = np.fft.irfft2(spectrum / radius**slope, s=(SIZE, SIZE))
    values -= values.min()
    return np.asarray(values / values.max())


def _bytes(values: np.ndarray) -> np.ndarray:
    if values.ndim == 2:
        values = values[..., None].repeat(3, axis=2)
    return np.asarray(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _wood(rng: np.random.Generator) -> np.ndarray:
    grain = _noise(rng, 1.3, rng.uniform(6, 14))
    rings = np.sin(grain * rng.uniform(15, 50)) * 0.5 + 0.5
    shade = 1.0 - rng.uniform(0.2, 0.5) * (0.6 * grain + 0.4 * rings)
    return shade[..., None] * np.array([1.0, rng.uniform(0.88, 0.98), rng.uniform(0.72, 0.9)])


def _stone(rng: np.random.Generator) -> np.ndarray:
    veins = np.abs(np.sin(_noise(rng, 1.5) * rng.uniform(6, 20) + 4 * _noise(rng)))
    return 1.0 - rng.uniform(0.15, 0.5) * (1 - veins ** rng.uniform(0.3, 1.0))


def _tile(rng: np.random.Generator) -> np.ndarray:
    cells = int(rng.choice([2, 4]))
    rows = np.arange(SIZE)[:, None] * cells // SIZE
    columns = rows.T
    joint = max(1, int(rng.uniform(1, 4)))
    inside = np.arange(SIZE) % (SIZE // cells) >= joint
    chequered = rng.random() < 0.5
    other = rng.uniform(0.35, 0.9) if chequered else 1.0
    base = np.where((rows + columns) % 2 == 0, 1.0, other)
    base = base * (1 - 0.12 * _noise(rng))
    return np.where(inside[:, None] & inside[None], base, rng.uniform(0.3, 0.8))


def _cloth(rng: np.random.Generator) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    weave = 0.86 + 0.14 * ((rows // 2 + columns // 2) % 2)
    width = int(rng.choice([8, 16, 32]))
    bands = (columns // width) % 2 if rng.random() < 0.7 else np.zeros((SIZE, SIZE))
    if rng.random() < 0.4:
        bands = bands + (rows // width) % 2
    tint = rng.uniform(0.4, 1.0, 3)
    return weave[..., None] * (1 - bands[..., None] * 0.5 * (1 - tint))


def _speckle(rng: np.random.Generator) -> np.ndarray:
    coarse = _noise(rng, 0.4)
    return 1.0 - rng.uniform(0.2, 0.6) * (coarse > rng.uniform(0.55, 0.7)) - 0.1 * _noise(rng, 0.7)


def _plaster(rng: np.random.Generator) -> np.ndarray:
    return 1.0 - rng.uniform(0.03, 0.12) * _noise(rng, 0.9)


def _metal(rng: np.random.Generator) -> np.ndarray:
    return 1.0 - rng.uniform(0.08, 0.25) * _noise(rng, 0.7, rng.uniform(0.03, 0.1))


def _glaze(rng: np.random.Generator) -> np.ndarray:
    return 1.0 - rng.uniform(0.05, 0.25) * _noise(rng, 1.2)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    rows = np.arange(SIZE)[:, None].repeat(SIZE, axis=1)
    period = int(rng.choice([16, 32, 64]))
    return np.where(rows % period < period * rng.uniform(0.3, 0.6), 1.0, rng.uniform(0.45, 0.7))


def _dots(rng: np.random.Generator) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE] % 32 - 15.5
    inside = np.hypot(rows, columns) < rng.uniform(5, 10)
    return np.where(inside, rng.uniform(0.4, 0.6), 1.0)


def _band(rng: np.random.Generator) -> np.ndarray:
    rows = np.arange(SIZE)[:, None].repeat(SIZE, axis=1) / SIZE
    low = rng.uniform(0.15, 0.45)
    inside = (rows > low) & (rows < low + rng.uniform(0.2, 0.45))
    ink = (_noise(rng, 0.8) > 0.55) & inside
    return np.where(ink, 0.5, np.where(inside, 0.75, 1.0)) * (1 - 0.08 * _noise(rng))


def _checks(rng: np.random.Generator) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE] // int(rng.choice([16, 32]))
    return np.where((rows + columns) % 2 == 0, 1.0, rng.uniform(0.55, 0.75))


def _grain(rng: np.random.Generator) -> np.ndarray:
    return 1.0 - rng.uniform(0.15, 0.4) * _noise(rng, 1.2, rng.uniform(3, 8))


def make_bank(rng: np.random.Generator) -> list[Surface]:
    """The surfaces of one split; the last is the skin's."""
    makers = {
        "wood": (_wood, 10, (0.8, 2.0), 0.15, False),
        "stone": (_stone, 6, (0.8, 2.0), 0.35, False),
        "tile": (_tile, 8, (1.0, 3.0), 0.3, False),
        "cloth": (_cloth, 5, (1.5, 4.0), 0.02, False),
        "speckle": (_speckle, 4, (1.0, 3.0), 0.3, False),
        "plaster": (_plaster, 3, (0.5, 1.0), 0.05, False),
        "metal": (_metal, 3, (1.0, 2.0), 0.6, False),
        "glaze": (_glaze, 5, (1.0, 1.0), 0.5, True),
        "stripes": (_stripes, 3, (1.0, 1.0), 0.3, True),
        "dots": (_dots, 2, (2.0, 2.0), 0.4, True),
        "band": (_band, 4, (1.0, 1.0), 0.3, True),
        "checks": (_checks, 2, (2.0, 1.0), 0.2, True),
        "grain": (_grain, 3, (1.0, 1.0), 0.15, True),
        "skin": (_plaster, 1, (1.0, 1.0), 0.12, True),
    }
    bank = []
    for family, (maker, count, around_and_up, specular, coordinates) in makers.items():
        low, high = sorted(around_and_up)
        for _ in range(count):
            # A little grain for all: no two pictures are then the same, in any two banks.
            picture = maker(rng)
            grain = 1.0 - 0.05 * _noise(rng, 0.8)
            image = _bytes(picture * (grain if picture.ndim == 2 else grain[..., None]))
            scale = rng.uniform(low, high)
            repeat = around_and_up if coordinates else (scale, scale)
            bank.append(Surface(family, image, repeat, specular, coordinates))
    return bank
