"""Rigid poses as 4 x 4 matrices, one or many at once: leading axes broadcast."""

import numpy as np

_IDENTITY = np.eye(3)


def cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cross products of vectors (..., 3); much faster than NumPy's on few of them."""
    a, b, c = first[..., 0], first[..., 1], first[..., 2]
    d, e, f = second[..., 0], second[..., 1], second[..., 2]
    return np.stack([b * f - c * e, c * d - a * f, a * e - b * d], axis=-1)


def pose(rotation: np.ndarray | None = None, position: np.ndarray | None = None) -> np.ndarray:
    """Matrices (..., 4, 4) of rotations (..., 3, 3) and positions (..., 3), meters."""
    lead = () if rotation is None else np.shape(rotation)[:-2]
    if position is not None and np.ndim(position) - 1 >= len(lead):
        lead = np.broadcast_shapes(lead, np.shape(position)[:-1])
    matrix = np.zeros((*lead, 4, 4))
    matrix[..., :3, :3] = _IDENTITY if rotation is None else rotation
    if position is not None:
        matrix[..., :3, 3] = position
    matrix[..., 3, 3] = 1.0
    return matrix


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse of rigid poses (..., 4, 4)."""
    rotation = np.swapaxes(matrix[..., :3, :3], -1, -2)
    return pose(rotation, -np.einsum("...ij,...j->...i", rotation, matrix[..., :3, 3]))


def transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 3) under poses (..., 4, 4)."""
    return np.einsum("...ij,...j->...i", matrix[..., :3, :3], points) + matrix[..., :3, 3]


def about(axis: str, angle: float | np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) about a coordinate axis ``x``, ``y`` or ``z``, radians."""
    angle = np.asarray(angle, dtype=float)
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., :, :] = np.eye(3)
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix[..., first, first] = cosine
    matrix[..., second, second] = cosine
    matrix[..., first, second] = -sine
    matrix[..., second, first] = sine
    return matrix


def about_axis(axis: np.ndarray, angle: float | np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) about a unit axis (3,), radians (Rodrigues)."""
    angle = np.asarray(angle, dtype=float)[..., None, None]
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: np.ndarray = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rotation


def unit(vector: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) of length one."""
    vector = np.asarray(vector, dtype=float)
    return np.asarray(vector / np.sqrt((vector * vector).sum(-1, keepdims=True)))


def frame(forward: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) whose -z points along ``forward`` and whose y leans towards ``up``.

    The convention of cameras and of the hand's bones: x is to the right.
    """
    z = -unit(forward)
    up = np.broadcast_to(np.asarray(up, dtype=float), z.shape)
    y = unit(up - z * (up * z).sum(-1, keepdims=True))
    return np.stack([cross(y, z), y, z], axis=-1)


def quaternions(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternions w x y z (..., 4), w not negative, of rotations (..., 3, 3)."""
    rotation = np.asarray(rotation)
    m = rotation.reshape(-1, 3, 3)
    # Each column of this symmetric matrix is 4 q q_k: the column of the largest part is safe.
    table = np.empty((len(m), 4, 4))
    d0, d1, d2 = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    table[:, 0, 0] = 1 + d0 + d1 + d2
    table[:, 1, 1] = 1 + d0 - d1 - d2
    table[:, 2, 2] = 1 - d0 + d1 - d2
    table[:, 3, 3] = 1 - d0 - d1 + d2
    table[:, 0, 1] = table[:, 1, 0] = m[:, 2, 1] - m[:, 1, 2]
    table[:, 0, 2] = table[:, 2, 0] = m[:, 0, 2] - m[:, 2, 0]
    table[:, 0, 3] = table[:, 3, 0] = m[:, 1, 0] - m[:, 0, 1]
    table[:, 1, 2] = table[:, 2, 1] = m[:, 0, 1] + m[:, 1, 0]
    table[:, 1, 3] = table[:, 3, 1] = m[:, 0, 2] + m[:, 2, 0]
    table[:, 2, 3] = table[:, 3, 2] = m[:, 1, 2] + m[:, 2, 1]
    largest = np.argmax(np.einsum("nii->ni", table), axis=1)
    columns = np.take_along_axis(table, largest[:, None, None], axis=2)[..., 0]
    columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    columns *= np.where(columns[:, :1] < 0, -1.0, 1.0)
    return columns.reshape(*rotation.shape[:-2], 4)


def smooth(progress: np.ndarray) -> np.ndarray:
    """Ease in and out: 0 below 0, 1 above 1, flat at both ends."""
    progress = np.clip(progress, 0.0, 1.0)
    return progress * progress * (3.0 - 2.0 * progress)
