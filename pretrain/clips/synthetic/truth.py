"""Classes, normals and corresponding points of a drawing, from depth and the poses of solids."""

from dataclasses import dataclass

import numpy as np

from pretrain.clips.dense import CLASSES, DenseKind, frame_pairs
from pretrain.clips.synthetic.poses import inverse, transform

FINER = 3
"""The truth is read from a drawing so many times finer than the maps, whose middle pixels are the
maps' own: the others tell how a surface goes on, and what hides what."""

_NO_THING = -1

_SAME_DEPTH, _SAME_DEPTH_SHARE = 0.006, 0.02
"""Difference in depth, meters and share of the depth, up to which a surface is the same."""


@dataclass
class Solids:
    """What a fine drawing shows, F x F pixels of T frames.

    Attributes:
        depth: float32 (T, F, F), meters along the optical axis.
        part: int (T, F, F), index of the part of the picture that a pixel shows, -1 for none, and
            -2 for skin.
        label: int (N + 2,), class of each part; of skin and of none the last two.
        thing: int (N + 2,), the rigid thing that it belongs to, alike; -1 for what is not rigid.
        is_box: bool (N + 2,), whether a part is a cuboid.
        half: float (N + 2, 3), half sizes of cuboids.
        parts: float (T, N, 4, 4), poses of the parts.
        things: float (T, M, 4, 4), poses of the things.
        camera: float (T, 4, 4).
        field_of_view: vertical, degrees.
    """

    depth: np.ndarray
    part: np.ndarray
    label: np.ndarray
    thing: np.ndarray
    is_box: np.ndarray
    half: np.ndarray
    parts: np.ndarray
    things: np.ndarray
    camera: np.ndarray
    field_of_view: float


def dense_truth(solids: Solids, kinds: list[DenseKind]) -> dict[DenseKind, np.ndarray]:
    """The truth of the kinds that are asked for, see :mod:`pretrain.clips.dense`."""
    middle = slice(FINER // 2, None, FINER)
    found: dict[DenseKind, np.ndarray] = {}
    if "segmentation" in kinds:
        found["segmentation"] = solids.label[solids.part[:, middle, middle]].astype(np.uint8)
    if "normals" in kinds:
        found["normals"] = _normals(solids)
    if "points" in kinds:
        found["points"] = _points(solids)
    return found


def class_number(label: str) -> int:
    """Of a label, in :data:`pretrain.clips.dense.CLASSES`."""
    return [str(one) for one in CLASSES].index(label)


def _in_view(solids: Solids) -> np.ndarray:
    """What pixels show, in the camera's frame: float (T, F, F, 3)."""
    size = solids.depth.shape[1]
    scale = np.tan(np.deg2rad(solids.field_of_view) / 2)
    across = ((np.arange(size) + 0.5) / size * 2 - 1) * scale
    depth = solids.depth.astype(np.float64)
    return np.stack([depth * across, -depth * across[:, None], -depth], axis=-1)


def _normals(solids: Solids) -> np.ndarray:
    points, part = _in_view(solids), solids.part
    middle = slice(FINER // 2, None, FINER)
    here, own = points[:, middle, middle], part[:, middle, middle]
    # Along each axis the neighbor on the same solid whose depth differs less: the other one may
    # lie beyond a corner.
    tangents, known = [], own != _NO_THING
    for before, after in (
        ((middle, slice(0, None, FINER)), (middle, slice(2, None, FINER))),
        ((slice(2, None, FINER), middle), (slice(0, None, FINER), middle)),
    ):
        backward = here - points[:, before[0], before[1]]
        forward = points[:, after[0], after[1]] - here
        same_before = part[:, before[0], before[1]] == own
        same_after = part[:, after[0], after[1]] == own
        step_before = np.where(same_before, np.abs(backward[..., 2]), np.inf)
        step_after = np.where(same_after, np.abs(forward[..., 2]), np.inf)
        tangents.append(np.where((step_before <= step_after)[..., None], backward, forward))
        known &= same_before | same_after
    normals = np.cross(tangents[0], tangents[1])
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    known &= length[..., 0] > 0
    normals = normals / np.where(length > 0, length, 1)
    flat = solids.is_box[own]
    normals[flat] = _of_boxes(solids, here, own)[flat]
    known |= flat
    return np.where(known[..., None], normals, np.nan).astype(np.float32)


def _of_boxes(solids: Solids, here: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Normals (T, h, w, 3) as if everything were a cuboid: of the side that a point lies on."""
    frame = np.arange(len(own))[:, None, None]
    to_camera = inverse(solids.camera)[:, None] @ solids.parts  # (T, N, 4, 4)
    number = np.clip(own, 0, None)
    pose = to_camera[frame, number]
    local = transform(inverse(pose), here)
    axis = np.argmax(np.abs(local) / np.maximum(solids.half[number], 1e-6), axis=-1)
    sign = np.sign(np.take_along_axis(local, axis[..., None], axis=-1))
    column = np.take_along_axis(pose[..., :3, :3], axis[..., None, None], axis=-1)[..., 0]
    return np.asarray(column * sign)


def _points(solids: Solids) -> np.ndarray:
    size = solids.depth.shape[1]
    middle = slice(FINER // 2, None, FINER)
    world = transform(solids.camera[:, None, None], _in_view(solids)[:, middle, middle])
    thing = solids.thing[solids.part]
    own = thing[:, middle, middle]
    scale = np.tan(np.deg2rad(solids.field_of_view) / 2)
    found = []
    for first, second in frame_pairs(len(world)):
        moved = solids.things[second] @ inverse(solids.things[first])
        there = transform(moved[np.clip(own[first], 0, None)], world[first])
        local = transform(inverse(solids.camera[second]), there)
        depth = -local[..., 2]
        ahead = depth > 1e-3
        depth = np.where(ahead, depth, 1.0)
        place = 0.5 + np.stack([local[..., 0], -local[..., 1]], axis=-1) / (
            2 * scale * depth[..., None]
        )
        inside = ((place > 0) & (place < 1)).all(axis=-1)
        column, row = np.clip((place * size).astype(int), 0, size - 1).transpose(2, 0, 1)
        seen = np.zeros_like(inside)
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                at = (np.clip(row + down, 0, size - 1), np.clip(column + across, 0, size - 1))
                apart = np.abs(solids.depth[second][at] - depth)
                near = apart < _SAME_DEPTH + _SAME_DEPTH_SHARE * depth
                seen |= near & (thing[second][at] == own[first])
        valid = inside & ahead & seen & (own[first] != _NO_THING)
        found.append(np.where(valid[..., None], place, np.nan))
    return np.stack(found).astype(np.float32)
