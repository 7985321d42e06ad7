"""One decoded frame, and how it becomes a square picture of the size that models take.

A picture is turned as the recording asks for, cut to the part that is wanted, resized so that its
short side has the resolution, and cut to the square in its middle: the geometry of CLIP's own
preprocessing. Letterboxing would spend 44 % of a 16:9 picture's patches on black bars; what is cut
off is the periphery, where hands at work seldom are.
"""

import math
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from pretrain.clips.tone_mapping import HLG, PQ, tone_map

Shares = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of the picture, 0 to 1."""

_UNSPECIFIED, _BT2020_CONSTANT = 2, 10
_FEWEST_HD_ROWS = 720
# Downscaling widens the kernel, so nothing aliases. Without whole color rows the scaler's pictures
# are two levels too dark; the other flags make them the same on any processor.
_SCALER = (
    Interpolation.BILINEAR
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)


@dataclass(frozen=True)
class Orientation:
    """How to lay a recorded picture for the eye: first transposed, then mirrored.

    Attributes:
        transpose: whether rows and columns are exchanged.
        mirror_x: whether left and right are exchanged after that.
        mirror_y: whether top and bottom are.
    """

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of_matrix(cls, matrix: np.ndarray) -> "Orientation":
        """What a display matrix of MP4 stands for: turns by 90 degrees and mirrors.

        Args:
            matrix: int32 (9,), row by row; a point (x, y, 1) of the recording times it gives the
                one on the display (ISO/IEC 14496-12).
        """
        a, b, _, c, d = (int(value) for value in matrix[:5])
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, mirror_x=c < 0, mirror_y=b < 0)
        return cls(False, mirror_x=a < 0, mirror_y=d < 0)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W, 3) as it is to be seen."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        if self.mirror_x:
            image = image[:, ::-1]
        return image[::-1] if self.mirror_y else image


UPRIGHT = Orientation()


@dataclass
class Picture:
    """A decoded frame.

    Attributes:
        time_s: when it is shown, seconds from the video's start.
        frame: as the decoder gave it.
        orientation: how to lay it for the eye.
        pixel_aspect: width of a pixel by its height.
    """

    time_s: float
    frame: av.VideoFrame
    orientation: Orientation = UPRIGHT
    pixel_aspect: float = 1.0

    def square(
        self, resolution: int, reformatter: VideoReformatter, crop: Shares | None = None
    ) -> np.ndarray:
        """The square in the middle of the picture, or of a part of it: uint8 (side, side, 3)."""
        return self.rectangle(resolution, resolution, reformatter, crop)

    def rectangle(
        self, rows: int, columns: int, reformatter: VideoReformatter, crop: Shares | None = None
    ) -> np.ndarray:
        """The largest rectangle of a form in the middle of the picture, or of a part of it.

        Args:
            rows: height in pixels.
            columns: width in pixels.
            reformatter: of the video; it keeps tables from one picture to the next.
            crop: the part, as shares of the upright picture; None for all of it.

        Returns:
            uint8 (rows, columns, 3), RGB.
        """
        frame, aspect, orientation = self.frame, self.pixel_aspect, self.orientation
        if crop is not None and orientation == UPRIGHT and _is_plain(frame):
            frame = _cut(frame, crop)
        elif crop is not None:
            upright = orientation(_rgb(frame, frame.width, frame.height, reformatter))
            if orientation.transpose:
                aspect = 1 / aspect
            down, across = _pixels(crop[1::2], len(upright)), _pixels(crop[::2], upright.shape[1])
            part = np.ascontiguousarray(upright[down, across])
            frame, orientation = av.VideoFrame.from_ndarray(part, format="rgb24"), UPRIGHT
        width, height = frame.width * aspect, float(frame.height)
        if orientation.transpose:
            rows, columns = columns, rows
        scale = max(columns / width, rows / height)
        # As much to cut off on one side as on the other.
        columns_wanted = columns + 2 * round((width * scale - columns) / 2)
        rows_wanted = rows + 2 * round((height * scale - rows) / 2)
        left, top = (columns_wanted - columns) // 2, (rows_wanted - rows) // 2
        window = slice(top, top + rows), slice(left, left + columns)
        cut = _rgb(frame, columns_wanted, rows_wanted, reformatter, window)
        return np.ascontiguousarray(orientation(cut))

    def whole(self, short_side: int, reformatter: VideoReformatter) -> np.ndarray:
        """All of the picture, no larger than ``short_side`` at its short side.

        Args:
            short_side: pixels; a smaller picture stays as it is.
            reformatter: of the video.

        Returns:
            uint8 (H, W, 3), RGB, of even height and width as codecs want them.
        """
        width, height = self.frame.width * self.pixel_aspect, float(self.frame.height)
        scale = min(1.0, short_side / min(width, height))
        columns, rows = (max(2, 2 * round(length * scale / 2)) for length in (width, height))
        return np.ascontiguousarray(self.orientation(_rgb(self.frame, columns, rows, reformatter)))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture, in square pixels."""
        width, height = round(self.frame.width * self.pixel_aspect), self.frame.height
        return (height, width) if self.orientation.transpose else (width, height)


def _is_plain(frame: av.VideoFrame) -> bool:
    """Whether a frame is of the usual form, three planes of 8 bits, of which parts are cheap."""
    return (
        frame.format.name in ("yuv420p", "yuvj420p")
        and frame.color_trc not in (PQ, HLG)
        and min(frame.width, frame.height) >= 2
    )


def _cut(frame: av.VideoFrame, crop: Shares) -> av.VideoFrame:
    """A part of a plain frame, to the nearest even pixel."""
    planes = []
    for number, plane in enumerate(frame.planes):
        half = min(number, 1)
        pixels = _plane(plane)
        rows = _pixels(crop[1::2], frame.height, 2)
        columns = _pixels(crop[::2], frame.width, 2)
        part = pixels[rows.start >> half : rows.stop >> half]
        planes.append(part[:, columns.start >> half : columns.stop >> half].ravel())
    joined = np.concatenate(planes).reshape(-1, columns.stop - columns.start)
    found = av.VideoFrame.from_ndarray(joined, format=frame.format.name)
    found.colorspace, found.color_range = _matrix(frame), frame.color_range
    return found


def _matrix(frame: av.VideoFrame) -> int:
    """The code of the matrix that made luma and color of red, green and blue."""
    if frame.colorspace == _UNSPECIFIED and frame.height >= _FEWEST_HD_ROWS:
        # Unnamed, large pictures are BT.709 by convention; the scaler would take BT.601.
        return int(Colorspace.ITU709)
    return int(frame.colorspace)


def _pixels(edges: tuple[float, ...], length: int, step: int = 1) -> slice:
    """Pixels between two shares of a length, in whole steps, and at least one."""
    steps = length // step
    start = min(steps - 1, round(edges[0] * length / step))
    stop = min(steps, max(start + 1, round(edges[1] * length / step)))
    return slice(start * step, stop * step)


def _rgb(
    frame: av.VideoFrame,
    width: int,
    height: int,
    reformatter: VideoReformatter,
    window: tuple[slice, slice] = (slice(None), slice(None)),
) -> np.ndarray:
    """A frame resized to ``height`` x ``width``, and of that the rows and columns of a window, as
    uint8 (rows, columns, 3).
    """
    high = frame.color_trc in (PQ, HLG)
    matrix = _matrix(frame)
    if high or matrix == _BT2020_CONSTANT:
        matrix = Colorspace.BT2020
    resized = reformatter.reformat(
        frame,
        width,
        height,
        # The scaler makes planes of red, green and blue in a third of the time that pixels take.
        "rgb48le" if high else "gbrp",
        src_colorspace=None if matrix == _UNSPECIFIED else matrix,
        interpolation=_SCALER,
        threads=1,
    )
    if high:
        return tone_map(resized.to_ndarray()[window], frame.color_trc)
    green, blue, red = (_plane(plane)[window] for plane in resized.planes)
    return np.stack([red, green, blue], axis=-1)


def _plane(plane: av.video.plane.VideoPlane) -> np.ndarray:
    """A plane's bytes (H, W), without those that fill its lines."""
    buffer: Any = plane
    return np.frombuffer(buffer, np.uint8).reshape(-1, plane.line_size)[:, : plane.width]


def check_crop(crop: object) -> Shares:
    """Four shares, left before right and top before bottom.

    Raises:
        ValueError: something else.
    """
    try:
        left, top, right, bottom = (float(value) for value in crop)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        left = top = right = bottom = math.nan
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(
            "Expected a crop as left, top, right and bottom, shares of the picture from 0 to 1, "
            f"got {crop!r}."
        )
    return left, top, right, bottom
