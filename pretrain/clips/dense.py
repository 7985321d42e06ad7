"""Dense truth that only a simulator has: what each pixel shows, how it is turned, where it goes.

Four kinds, each stored on request. The first three are as large as the depth maps they lie beside:

================  ==================================================================================
``segmentation``  uint8 (T, h, w): the class of what a pixel shows, an index in :data:`CLASSES`
``normals``       float32 (T, h, w, 3): of the surface, of length 1, in the camera's frame (x right,
                  y up, z from the scene to the camera); NaN where not known
``points``        float32 (P, h, w, 2): for each pair of frames (:func:`frame_pairs`), where in the
                  later one the surface point lies that a pixel of the earlier one shows: shares of
                  the image from the left and the top; NaN where it is hidden, out of the image or
                  not known (skin bends, so hands have none)
``looks``         uint8 (T, H, W, 3), as large as the frames: the same scene, hands and camera under
                  other lights, colors and textures
================  ==================================================================================
"""

from typing import Literal, get_args

DenseKind = Literal["segmentation", "normals", "points", "looks"]
"""What may be stored."""

DENSE_KINDS: tuple[DenseKind, ...] = get_args(DenseKind)

Label = Literal[
    "room", "furniture", "front", "handle", "knob", "button", "object", "hand", "person"
]
"""What a surface belongs to: walls, floor and counter; what stands still of furniture; its doors,
drawers and lids; what these are opened by; dials; buttons and switches; things to handle; hands;
the rest of the person."""

CLASSES: tuple[Label, ...] = get_args(Label)
"""Classes of ``segmentation``, by their number."""


def frame_pairs(frames: int) -> list[tuple[int, int]]:
    """Pairs of frames (earlier, later) in the order of ``points``: (0, 1), (0, 2), (1, 2), ..."""
    return [(first, second) for second in range(frames) for first in range(second)]
