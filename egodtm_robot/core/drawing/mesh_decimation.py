"""Meshes with fewer faces for drawing: vertex clustering with quadric representatives.

Vertices in one cell of a grid become one vertex, placed where it lies closest to the planes of the
faces around it (Lindstrom, "Out-of-core simplification of large polygonal models", 2000), so that
edges and flat parts stay where they are. Normals come from the original faces around a new corner
that point within 45 degrees of the new face: round parts stay smooth and creases stay sharp.
"""

import hashlib

import mujoco
import numpy as np

_CREASE_COSINE = np.cos(np.deg2rad(45.0))
_GROWTH = 1.12
_cache: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = {}


def decimate_meshes(model: mujoco.MjModel, max_faces: int) -> None:
    """Reduces each heavy mesh of a model in place to at most ``max_faces`` faces.

    Meshes of up to twice as many faces were modeled sparingly and stay as they are: there is
    little to gain, and their few vertices all matter.

    Only for models that are drawn, not simulated: convex hulls, volumes and collision trees are
    left as they were. Meshes with texture coordinates are left whole. Results are kept per process.

    Args:
        model: changed in its mesh vertices, faces and normals.
        max_faces: at least 4.
    """
    for index in range(model.nmesh):
        if model.mesh_facenum[index] <= 2 * max_faces or model.mesh_texcoordadr[index] >= 0:
            continue
        vertices = _rows(model.mesh_vertadr, model.mesh_vertnum, index)
        faces = _rows(model.mesh_faceadr, model.mesh_facenum, index)
        normals = _rows(model.mesh_normaladr, model.mesh_normalnum, index)
        source_vertices = model.mesh_vert[vertices].astype(np.float64)
        source_faces = model.mesh_face[faces].astype(np.int64)
        key = (
            hashlib.blake2b(source_vertices.tobytes() + source_faces.tobytes()).hexdigest()
            + f"-{max_faces}"
        )
        if key not in _cache:
            _cache[key] = decimate(source_vertices, source_faces, max_faces)
        new_vertices, new_faces, new_normals, normal_indices = _cache[key]
        if (
            len(new_vertices) > model.mesh_vertnum[index]
            or len(new_normals) > model.mesh_normalnum[index]
        ):
            # There is no room for them in this model: draw the mesh as it is.
            continue
        first = slice(vertices.start, vertices.start + len(new_vertices))
        model.mesh_vert[first] = new_vertices
        first = slice(faces.start, faces.start + len(new_faces))
        model.mesh_face[first] = new_faces
        model.mesh_facenormal[first] = normal_indices
        model.mesh_facenum[index] = len(new_faces)
        first = slice(normals.start, normals.start + len(new_normals))
        model.mesh_normal[first] = new_normals


def _rows(starts: np.ndarray, counts: np.ndarray, index: int) -> slice:
    return slice(int(starts[index]), int(starts[index] + counts[index]))


def decimate(
    vertices: np.ndarray, faces: np.ndarray, max_faces: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Clusters vertices on the finest grid that leaves at most ``max_faces`` faces.

    Args:
        vertices: float (V, 3).
        faces: int (F, 3) indices of vertices, counter-clockwise from outside.
        max_faces: at least 4.

    Returns:
        Vertices float (v, 3), faces int (f, 3), unit normals float (n, 3) and the index of the
        normal of each corner of each face, int (f, 3).
    """
    cross = np.cross(
        vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]
    )
    area = np.linalg.norm(cross, axis=1).sum() / 2
    # A closed surface cut by cubes of edge c has about 3 faces for each c x c of its area.
    cell = np.sqrt(2.0 * area / max_faces)
    while True:
        clusters = _clusters(vertices, cell)
        new_faces = _merged_faces(faces, clusters)
        if len(new_faces) <= max_faces:
            break
        cell *= max(_GROWTH, 0.97 * np.sqrt(len(new_faces) / max_faces))
    new_vertices = _representatives(vertices, faces, cross, clusters, cell)
    normals, indices = _corner_normals(new_vertices, new_faces, faces, cross, clusters)
    used, new_faces = np.unique(new_faces, return_inverse=True)
    return new_vertices[used], new_faces.reshape(-1, 3), normals, indices


def _clusters(vertices: np.ndarray, cell: float) -> np.ndarray:
    """Index of each vertex's cluster, int (V,), numbered from 0."""
    grid = np.floor((vertices - vertices.min(axis=0)) / cell).astype(np.int64)
    size = grid.max(axis=0) + 1
    flat = (grid[:, 0] * size[1] + grid[:, 1]) * size[2] + grid[:, 2]
    return np.unique(flat, return_inverse=True)[1].ravel()


def _merged_faces(faces: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Faces between three different clusters, each once, int (f, 3)."""
    merged = clusters[faces]
    whole = (
        (merged[:, 0] != merged[:, 1])
        & (merged[:, 1] != merged[:, 2])
        & (merged[:, 0] != merged[:, 2])
    )
    merged = merged[whole]
    # The smallest index first, the direction kept: opposite faces of a thin sheet both stay.
    turn = merged.argmin(axis=1)
    merged = np.take_along_axis(merged, (turn[:, None] + np.arange(3)) % 3, axis=1)
    count = int(clusters.max()) + 1
    keys = (merged[:, 0] * count + merged[:, 1]) * count + merged[:, 2]
    _, first = np.unique(keys, return_index=True)
    first.sort()
    return merged[first]


def _representatives(
    vertices: np.ndarray, faces: np.ndarray, cross: np.ndarray, clusters: np.ndarray, cell: float
) -> np.ndarray:
    """The point of each cluster closest to the planes of its faces, float (clusters, 3)."""
    count = int(clusters.max()) + 1
    mean = np.stack(
        [np.bincount(clusters, vertices[:, axis], count) for axis in range(3)], axis=1
    ) / np.bincount(clusters, minlength=count).reshape(-1, 1)
    corner_clusters = clusters[faces].ravel()
    plane = np.repeat(cross, 3, axis=0)
    offset = np.einsum(
        "ij,ij->i", plane, vertices[np.repeat(faces[:, 0], 3)] - mean[corner_clusters]
    )
    matrices = np.empty((count, 3, 3))
    targets = np.empty((count, 3))
    for row in range(3):
        targets[:, row] = np.bincount(corner_clusters, plane[:, row] * offset, count)
        for column in range(3):
            matrices[:, row, column] = np.bincount(
                corner_clusters, plane[:, row] * plane[:, column], count
            )
    # Planes leave the position open on flat parts and along edges: the mean decides there.
    damping = 1e-2 * np.trace(matrices, axis1=1, axis2=2) + 1e-30
    matrices += damping[:, None, None] * np.eye(3)
    shift = np.linalg.solve(matrices, targets[..., None])[..., 0]
    return mean + np.clip(shift, -cell, cell)


def _corner_normals(
    new_vertices: np.ndarray,
    new_faces: np.ndarray,
    faces: np.ndarray,
    cross: np.ndarray,
    clusters: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (n, 3) and the index of each new corner's normal (f, 3)."""
    corners = new_vertices[new_faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-30
    clusters_around, sums = _facings(faces, cross, clusters)
    unit = sums / (np.linalg.norm(sums, axis=1, keepdims=True) + 1e-30)
    # All pairs of a new corner and a facing of its cluster.
    corner_vertex = new_faces.ravel()
    starts = np.searchsorted(clusters_around, np.arange(int(clusters.max()) + 2))
    lengths = np.diff(starts)[corner_vertex]
    pair_corner = np.repeat(np.arange(len(corner_vertex)), lengths)
    within = np.arange(len(pair_corner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    pair_facing = starts[corner_vertex][pair_corner] + within
    aligned = np.einsum("ij,ij->i", unit[pair_facing], flat[pair_corner // 3]) > _CREASE_COSINE
    weights = sums[pair_facing] * aligned[:, None]
    normals = np.stack(
        [np.bincount(pair_corner, weights[:, axis], len(corner_vertex)) for axis in range(3)],
        axis=1,
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(length > 1e-12, normals / np.maximum(length, 1e-12), np.repeat(flat, 3, 0))
    # Corners of one vertex that agree share a normal.
    rounded = np.round(normals * 64).astype(np.int64) + 64
    keys = corner_vertex
    for axis in range(3):
        keys = keys * 129 + rounded[:, axis]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return normals[first], inverse.reshape(-1, 3)


def _facings(
    faces: np.ndarray, cross: np.ndarray, clusters: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The original faces around each cluster, those that face much the same way summed.

    Returns:
        Cluster of each facing, ascending int (n,), and its sum of area normals, float (n, 3).
    """
    unit = cross / (np.linalg.norm(cross, axis=1, keepdims=True) + 1e-30)
    direction = np.round(unit * 3).astype(np.int64) + 3
    direction = (direction[:, 0] * 7 + direction[:, 1]) * 7 + direction[:, 2]
    keys = clusters[faces].ravel() * 7**3 + np.repeat(direction, 3)
    keys, inverse = np.unique(keys, return_inverse=True)
    sums = np.stack(
        [np.bincount(inverse, np.repeat(cross[:, axis], 3), len(keys)) for axis in range(3)],
        axis=1,
    )
    return keys // 7**3, sums
