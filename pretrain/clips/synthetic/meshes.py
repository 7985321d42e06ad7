"""Meshes of objects, arms and sleeves: those that come as assets, and turned and boxed ones."""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.clips.synthetic import assets
from pretrain.clips.synthetic.poses import about

_SLICES = 18


@dataclass(frozen=True)
class Mesh:
    """A surface with texture coordinates.

    Attributes:
        vertices: float (V, 3), meters.
        faces: int (F, 3), counter-clockwise from outside.
        texture: float (3 F, 2), coordinates of each corner of each face in turn: once round the
            vertical axis, once from the bottom to the top.
    """

    vertices: np.ndarray
    faces: np.ndarray
    texture: np.ndarray

    @property
    def extent(self) -> np.ndarray:
        """Sides (3,) of the box around it, meters."""
        return np.ptp(self.vertices, axis=0)


def _mesh(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """Centers a surface on its bounding box and wraps the texture around it."""
    vertices = np.asarray(vertices, dtype=np.float64)
    vertices = vertices - (vertices.min(0) + vertices.max(0)) / 2
    faces = np.asarray(faces, dtype=np.int64)
    around = np.arctan2(vertices[:, 1], vertices[:, 0]) / (2 * np.pi) + 0.5
    height = (vertices[:, 2] - vertices[:, 2].min()) / max(np.ptp(vertices[:, 2]), 1e-6)
    u = around[faces]
    # Faces across the seam continue beyond 1 instead of running back through the whole picture.
    u = np.where((np.ptp(u, axis=1, keepdims=True) > 0.5) & (u < 0.5), u + 1, u)
    texture = np.stack([u, height[faces]], axis=-1).reshape(-1, 2)
    return Mesh(vertices, faces, texture)


def _turned(
    profile: Sequence[tuple[float, float]], slices: int = _SLICES
) -> tuple[np.ndarray, np.ndarray]:
    """The body that a profile of (radius, height) sweeps around z, from bottom to top.

    Radii of 0 at both ends close it. Thin vessels go up outside and down inside, so that their
    walls have two sides.
    """
    angles = np.linspace(0, 2 * np.pi, slices, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vertices: list[np.ndarray] = []
    starts: list[tuple[int, bool]] = []
    count = 0
    for radius, height in profile:
        single = radius < 1e-9
        rows = np.zeros((1, 2)) if single else ring * radius
        vertices.append(np.column_stack([rows, np.full(len(rows), height)]))
        starts.append((count, single))
        count += len(rows)
    faces = []
    after = (np.arange(slices) + 1) % slices
    for (low, low_single), (high, high_single) in itertools.pairwise(starts):
        index = np.arange(slices)
        if low_single and high_single:
            continue
        if low_single:
            faces.append(np.stack([np.full(slices, low), high + after, high + index], axis=1))
        elif high_single:
            faces.append(np.stack([low + index, low + after, np.full(slices, high)], axis=1))
        else:
            faces.append(np.stack([low + index, low + after, high + after], axis=1))
            faces.append(np.stack([low + index, high + after, high + index], axis=1))
    return np.concatenate(vertices), np.concatenate(faces)


def _cuboid(
    size: Sequence[float], center: Sequence[float] = (0, 0, 0)
) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))]
    # Sides do not share vertices, so that edges stay sharp.
    vertices = corners[np.array(faces).ravel()] * np.asarray(size) + np.asarray(center)
    return vertices, np.arange(36).reshape(-1, 3)


def _rod(
    start: Sequence[float], end: Sequence[float], radius: float
) -> tuple[np.ndarray, np.ndarray]:
    origin = np.asarray(start, dtype=float)
    along = np.asarray(end, dtype=float) - origin
    length = float(np.linalg.norm(along))
    vertices, faces = _turned(
        [
            (0, 0),
            (radius * 0.8, 0.0),
            (radius, radius * 0.4),
            (radius, length - radius * 0.4),
            (radius * 0.8, length),
            (0, length),
        ],
        10,
    )
    z = along / length
    x = np.cross(z, [0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0])
    x /= np.linalg.norm(x)
    return vertices @ np.stack([x, np.cross(z, x), z]) + origin, faces


def _ring(
    radius: float, thickness: float, center: Sequence[float], turn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A handle: a torus about the y axis, turned."""
    around, across = 14, 6
    a = np.linspace(0, 2 * np.pi, around, endpoint=False)[:, None]
    b = np.linspace(0, 2 * np.pi, across, endpoint=False)[None]
    reach = radius + thickness * np.cos(b)
    vertices = np.stack(
        [
            reach * np.cos(a),
            np.broadcast_to(thickness * np.sin(b), reach.shape) + 0 * a,
            reach * np.sin(a),
        ],
        axis=-1,
    ).reshape(-1, 3)
    faces = []
    for i in range(around):
        for j in range(across):
            p, q = i * across + j, i * across + (j + 1) % across
            r, s = (i + 1) % around * across + (j + 1) % across, (i + 1) % around * across + j
            faces += [(p, q, r), (p, r, s)]
    return vertices @ turn.T + np.asarray(center), np.array(faces)


def _joined(*pieces: tuple[np.ndarray, np.ndarray]) -> Mesh:
    vertices, faces, count = [], [], 0
    for piece_vertices, piece_faces in pieces:
        vertices.append(piece_vertices)
        faces.append(piece_faces + count)
        count += len(piece_vertices)
    return _mesh(np.concatenate(vertices), np.concatenate(faces))


def _vessel(
    outside: Sequence[tuple[float, float]], wall: float, floor: float
) -> list[tuple[float, float]]:
    """A profile up the outside and down the inside."""
    inside = [(radius - wall, max(height, floor)) for radius, height in reversed(outside)]
    return [(0.0, outside[0][1]), *outside, *inside, (0.0, floor)]


def _turned_objects() -> dict[str, Mesh]:
    cm = 0.01
    eye = np.eye(3)

    def profile(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(r * cm, h * cm) for r, h in points]

    pot_wall = _turned(_vessel(profile((7, 0), (7.6, 0.5), (7.8, 9)), 0.003, 0.004))
    return {
        "plate": _joined(_turned(_vessel(profile((4.5, 0), (6, 0.4), (9.5, 1.8)), 0.004, 0.005))),
        "jar": _joined(
            _turned(
                profile(
                    (0, 0),
                    (3.4, 0),
                    (3.8, 0.6),
                    (3.8, 8.5),
                    (3.2, 9.5),
                    (3.2, 9.8),
                    (3.5, 9.8),
                    (3.5, 11.4),
                    (0, 11.4),
                )
            )
        ),
        "can": _joined(
            _turned(
                profile(
                    (0, 0.1), (3.0, 0), (3.3, 0.4), (3.3, 11.2), (3.0, 11.7), (2.8, 11.4), (0, 11.4)
                )
            )
        ),
        "pot": _joined(
            pot_wall,
            _rod((-0.11, -0.025, 0.075), (-0.11, 0.025, 0.075), 0.006),
            _rod((-0.075, -0.025, 0.075), (-0.11, -0.025, 0.075), 0.005),
            _rod((-0.075, 0.025, 0.075), (-0.11, 0.025, 0.075), 0.005),
            _rod((0.11, -0.025, 0.075), (0.11, 0.025, 0.075), 0.006),
            _rod((0.075, -0.025, 0.075), (0.11, -0.025, 0.075), 0.005),
            _rod((0.075, 0.025, 0.075), (0.11, 0.025, 0.075), 0.005),
        ),
        "bottle": _joined(
            _turned(
                profile(
                    (0, 0),
                    (3.4, 0),
                    (3.6, 0.5),
                    (3.6, 13),
                    (2.8, 15.5),
                    (1.5, 18),
                    (1.3, 22),
                    (1.5, 22),
                    (1.5, 23.5),
                    (0, 23.5),
                )
            )
        ),
        "glass": _joined(
            _turned(_vessel(profile((2.7, 0), (2.9, 0.3), (3.6, 11.5)), 0.0025, 0.008))
        ),
        "jug": _joined(
            _turned(
                _vessel(profile((4.2, 0), (5.4, 1.0), (5.2, 8), (4.2, 13), (4.6, 16)), 0.004, 0.006)
            ),
            _ring(0.042, 0.007, (0.062, 0, 0.085), eye),
        ),
        "kettle": _joined(
            _turned(
                profile(
                    (0, 0),
                    (7.2, 0),
                    (7.6, 0.8),
                    (7.0, 6),
                    (4.2, 10.5),
                    (4.0, 11),
                    (1.0, 11.4),
                    (1.2, 13),
                    (0, 13.4),
                )
            ),
            _rod((-0.06, 0, 0.05), (-0.115, 0, 0.105), 0.011),
            _rod((0.062, 0, 0.075), (0.062, 0, 0.175), 0.007),
            _rod((-0.05, 0, 0.085), (-0.05, 0, 0.175), 0.007),
            _rod((-0.056, 0, 0.175), (0.068, 0, 0.175), 0.010),
        ),
        "salt shaker": _joined(
            _turned(
                profile(
                    (0, 0),
                    (2.2, 0),
                    (2.4, 0.4),
                    (1.9, 5.5),
                    (2.1, 5.5),
                    (2.0, 7.4),
                    (1.2, 8.2),
                    (0, 8.4),
                )
            )
        ),
        "candle": _joined(
            _turned(
                profile((0, 0), (2.9, 0), (2.9, 8.6), (2.5, 8.4), (0.3, 8.2), (0.2, 9.6), (0, 9.6))
            )
        ),
        "flower pot": _joined(
            _turned(_vessel(profile((3.8, 0), (5.4, 8.2), (6.0, 8.2), (6.0, 10.4)), 0.006, 0.085)),
        ),
        "spray bottle": _joined(
            _turned(
                profile((0, 0), (3.6, 0), (3.8, 0.5), (3.8, 11), (1.4, 14), (1.4, 16), (0, 16))
            ),
            _cuboid((0.075, 0.028, 0.026), (-0.016, 0, 0.172)),
            _cuboid((0.012, 0.016, 0.04), (-0.03, 0, 0.145)),
        ),
        "thermos": _joined(
            _turned(
                profile(
                    (0, 0),
                    (3.5, 0),
                    (3.5, 17),
                    (3.1, 18),
                    (3.1, 18.3),
                    (3.3, 18.3),
                    (3.1, 22.5),
                    (0, 22.7),
                )
            )
        ),
        "ball": _joined(
            _turned([(0.038 * np.sin(a), -0.038 * np.cos(a)) for a in np.linspace(0, np.pi, 11)])
        ),
        "cereal box": _joined(_cuboid((0.155, 0.052, 0.215))),
        "milk carton": _joined(_cuboid((0.07, 0.07, 0.16), (0, 0, 0.08)), _roof(0.07, 0.16, 0.035)),
        "book": _joined(_cuboid((0.145, 0.205, 0.028))),
        "sponge": _joined(_cuboid((0.105, 0.068, 0.032))),
        "lunch box": _joined(
            _cuboid((0.19, 0.125, 0.058)), _cuboid((0.196, 0.131, 0.014), (0, 0, 0.036))
        ),
        "tissue box": _joined(
            _cuboid((0.2, 0.105, 0.075)), _cuboid((0.05, 0.002, 0.03), (0, 0, 0.05))
        ),
        "spoon": _joined(
            _rod((0, -0.02, 0), (0, 0.13, 0), 0.0055),
            _bulb((0, -0.045, 0), (0.02, 0.03, 0.006)),
        ),
        "rolling pin": _joined(
            _rod((-0.11, 0, 0), (0.11, 0, 0), 0.024), _rod((-0.165, 0, 0), (0.165, 0, 0), 0.011)
        ),
        "screwdriver": _joined(
            _rod((0, 0.0, 0), (0, 0.1, 0), 0.0145), _rod((0, -0.11, 0), (0, 0.01, 0), 0.004)
        ),
        "tray": _joined(
            _cuboid((0.28, 0.19, 0.008)),
            _cuboid((0.28, 0.008, 0.03), (0, 0.093, 0.013)),
            _cuboid((0.28, 0.008, 0.03), (0, -0.093, 0.013)),
            _cuboid((0.008, 0.19, 0.03), (0.138, 0, 0.013)),
            _cuboid((0.008, 0.19, 0.03), (-0.138, 0, 0.013)),
        ),
    }


def _roof(side: float, height: float, rise: float) -> tuple[np.ndarray, np.ndarray]:
    """The gable of a carton."""
    h = side / 2
    a, b, c, d = ((-h, -h), (h, -h), (h, h), (-h, h))
    low = [(*point, height) for point in (a, b, c, d)]
    top = [(-h, 0, height + rise), (h, 0, height + rise)]
    p = [np.array(point, dtype=float) for point in (*low, *top)]
    triangles = [(0, 1, 5), (0, 5, 4), (2, 3, 4), (2, 4, 5), (1, 2, 5), (3, 0, 4)]
    return np.array([p[i] for face in triangles for i in face]), np.arange(18).reshape(-1, 3)


def _bulb(center: Sequence[float], radii: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = _turned([(np.sin(a), -np.cos(a)) for a in np.linspace(0, np.pi, 7)], 12)
    return vertices * np.asarray(radii) + np.asarray(center), faces


_ARM_RINGS = (
    (0.0, 0.027, 0.021),
    (0.03, 0.0285, 0.023),
    (0.08, 0.034, 0.030),
    (0.16, 0.042, 0.038),
    (0.24, 0.044, 0.041),
    (0.27, 0.042, 0.041),
)


def _arm(rings: Sequence[tuple[float, float, float]], wider: float) -> Mesh:
    """A limb along +z, closed at both ends, from rings of (height, half width x, half width y)."""
    profile = [(0.0, rings[0][0]), *((1.0, z) for z, _, _ in rings), (0.0, rings[-1][0])]
    vertices, faces = _turned(profile, 16)
    heights = np.array([z for z, _, _ in rings])
    for axis, column in ((0, 1), (1, 2)):
        half = np.interp(vertices[:, 2], heights, [ring[column] for ring in rings])
        vertices[:, axis] *= half * wider
    mesh = _mesh(vertices, faces)
    middle = (vertices.min(0) + vertices.max(0)) / 2
    return Mesh(mesh.vertices + middle, mesh.faces, mesh.texture)


def _limbs() -> dict[str, Mesh]:
    upper = ((0.0, 0.040, 0.040), (0.1, 0.046, 0.046), (0.22, 0.052, 0.052), (0.3, 0.05, 0.05))
    sleeves = {}
    for name, start in (("sleeve long", 0.012), ("sleeve middle", 0.07), ("sleeve short", 0.15)):
        rest = [ring for ring in _ARM_RINGS if ring[0] > start + 0.01]
        width = np.interp(start, [r[0] for r in _ARM_RINGS], [r[1] for r in _ARM_RINGS])
        depth = np.interp(start, [r[0] for r in _ARM_RINGS], [r[2] for r in _ARM_RINGS])
        sleeves[name] = _arm([(start, float(width), float(depth)), *rest], 1.2)
    return {
        "forearm": _arm(_ARM_RINGS, 1.0),
        "upper arm": _arm(upper, 1.0),
        "upper sleeve": _arm(upper, 1.15),
        **sleeves,
    }


_LYING: dict[str, np.ndarray] = {
    # Assets that stand on an edge, laid on a side.
    "binoculars": about("x", np.pi / 2),
    "phone": about("x", np.pi / 2),
    "flashlight": about("y", np.pi / 2),
}


@functools.cache
def all_meshes() -> dict[str, Mesh]:
    """Every mesh by name: objects as they stand on a table, centered; limbs from the joint up z."""
    arrays = assets.load("household_objects")
    meshes = {}
    for key, vertices in arrays.items():
        name, _, kind = key.rpartition("_")
        if kind == "vertices":
            turned = vertices.astype(np.float64) @ _LYING.get(name, np.eye(3)).T
            meshes[name] = _mesh(turned, arrays[f"{name}_faces"])
    return {**meshes, **_turned_objects(), **_limbs()}
