"""Depth that a sensor recorded beside the color frames, as maps of what a clip shows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from egodtm_robot.core.errors import UnknownNameError
from pretrain.clips.decoded_frame import Shares
from pretrain.clips.frame_folder import FrameFolder
from pretrain.clips.video_file import DamagedVideoError


@dataclass(frozen=True)
class Calibration:
    """A depth camera beside a color camera.

    Attributes:
        depth_focal: of the depth camera, pixels, x and y.
        depth_center: its principal point, pixels.
        color_focal: of the color camera.
        color_center: its principal point.
        rotation: (3, 3), of the depth camera's points into the color camera's frame.
        translation_m: of the same, meters.
    """

    depth_focal: tuple[float, float]
    depth_center: tuple[float, float]
    color_focal: tuple[float, float]
    color_center: tuple[float, float]
    rotation: tuple[tuple[float, float, float], ...]
    translation_m: tuple[float, float, float]


CALIBRATIONS = {
    # First-Person Hand Action's Intel RealSense SR300, as published with it (arXiv 1704.02463).
    "fphab": Calibration(
        depth_focal=(475.065948, 475.065857),
        depth_center=(315.944855, 245.287079),
        color_focal=(1395.749023, 1395.749268),
        color_center=(935.732544, 540.681030),
        rotation=(
            (0.999988496304, -0.00468848412856, 0.000982563360594),
            (0.00469115935266, 0.999985218048, -0.00273845880292),
            (-0.000969709653873, 0.00274303671904, 0.99999576807),
        ),
        translation_m=(0.0257, 0.00122, 0.003902),
    ),
}
"""Pairs of cameras by name."""

ALIGNED = "aligned"
"""Instead of such a name: depth pictures show exactly what the color pictures show."""


class DepthFrames:
    """A folder of 16-bit depth pictures with the numbers of the color pictures beside it.

    Args:
        folder: of the pictures.
        unit_m: meters that one step counts for; 0 is where the sensor saw nothing.
        calibration: ``aligned``, or a name of CALIBRATIONS.

    Raises:
        UnreadableVideoError: the folder holds no numbered pictures.
        UnknownNameError: there is no such pair of cameras.
    """

    def __init__(self, folder: str | Path, unit_m: float = 0.001, calibration: str = ALIGNED):
        self._folder = FrameFolder(folder, fps=1.0)
        self._unit_m = unit_m
        known = (ALIGNED, *CALIBRATIONS)
        if calibration not in known:
            raise UnknownNameError("depth calibration", calibration, known)
        self._calibration = CALIBRATIONS.get(calibration)

    def map(
        self,
        number: int,
        size: tuple[int, int],
        crop: Shares | None,
        grid: tuple[int, int],
        form: tuple[int, int] = (1, 1),
    ) -> np.ndarray:
        """Depth of the rectangle that a clip shows of one color picture.

        A cell is the median of what the sensor saw in it.

        Args:
            number: of the color picture.
            size: its width and height.
            crop: the part that was taken of it, see :meth:`Picture.rectangle`.
            grid: rows and columns of the map.
            form: height and width of the clip's frames; only their ratio counts.

        Returns:
            float32 (rows, columns), meters from the color camera; NaN where nothing was seen.

        Raises:
            DamagedVideoError: the depth picture is none that can be read.
        """
        rows, columns = grid
        found = np.full(grid, np.nan, np.float32)
        file = self._folder.numbered.get(number)
        if file is None:
            return found
        try:
            with Image.open(file) as image:
                depth = np.asarray(image)
        except (OSError, UnidentifiedImageError) as error:
            raise DamagedVideoError(
                f"Expected a whole picture in {file}, got one that cannot be read ({error})."
            ) from error
        if depth.ndim != 2:
            raise DamagedVideoError(
                f"Expected one channel of depth in {file}, got a picture of shape {depth.shape}."
            )
        column, row, meters = self._points(depth, size)
        left, top, width, height = _rectangle(size, crop, form)
        x = np.floor((column - left) * columns / width)
        y = np.floor((row - top) * rows / height)
        inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
        cell = (y[inside] * columns + x[inside]).astype(np.int64)
        values = meters[inside]
        order = np.lexsort((values, cell))
        seen, first, count = np.unique(cell[order], return_index=True, return_counts=True)
        low, high = first + (count - 1) // 2, first + count // 2
        found.flat[seen] = (values[order][low] + values[order][high]) / 2
        return found

    def _points(
        self, depth: np.ndarray, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Column and row in the color picture, and meters, of all that was seen."""
        v, u = np.nonzero(depth)
        z = depth[v, u] * self._unit_m
        cameras = self._calibration
        if cameras is None:
            height, width = depth.shape
            return (u + 0.5) * size[0] / width, (v + 0.5) * size[1] / height, z
        x = (u - cameras.depth_center[0]) / cameras.depth_focal[0] * z
        y = (v - cameras.depth_center[1]) / cameras.depth_focal[1] * z
        points = np.stack([x, y, z], axis=1) @ np.array(cameras.rotation).T
        points += np.array(cameras.translation_m)
        points = points[points[:, 2] > 0]
        column = points[:, 0] / points[:, 2] * cameras.color_focal[0] + cameras.color_center[0]
        row = points[:, 1] / points[:, 2] * cameras.color_focal[1] + cameras.color_center[1]
        return column, row, points[:, 2]


def _rectangle(
    size: tuple[int, int], crop: Shares | None, form: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Left, top, width and height of the largest rectangle of a form in the middle, pixels."""
    left, top, right, bottom = crop or (0.0, 0.0, 1.0, 1.0)
    width, height = (right - left) * size[0], (bottom - top) * size[1]
    scale = min(width / form[1], height / form[0])
    wide, high = form[1] * scale, form[0] * scale
    return left * size[0] + (width - wide) / 2, top * size[1] + (height - high) / 2, wide, high
