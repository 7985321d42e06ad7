"""A folder of numbered pictures as a video: how several data sets are handed out."""

import bisect
import re
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pretrain.clips.decoded_frame import Picture
from pretrain.clips.video_file import (
    END_SLACK_S,
    ClipSpanError,
    DamagedVideoError,
    UnreadableVideoError,
)

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
"""Endings of the pictures that are looked for, in lower case."""

_NUMBER = re.compile(r"(\d+)$")


class FrameFolder:
    """Pictures whose names end in a number, such as ``frame_0000000017.jpg``.

    The one with the lowest number is shown first, at 0 s; one of a number n higher, n / fps later.
    Where a number is missing, the one before it stays in view.

    Args:
        path: of the folder.
        fps: pictures a second.

    Raises:
        UnreadableVideoError: the folder has no such pictures, or two with one number.

    Attributes:
        numbers: of the pictures, ascending.
        numbered: the file of each.
        times: when each is first shown, seconds.
    """

    def __init__(self, path: str | Path, fps: float) -> None:
        self.path = Path(path)
        self.fps = fps
        found: dict[int, Path] = {}
        for file in sorted(self.path.iterdir()):
            match = _NUMBER.search(file.stem)
            if match is None or file.suffix.lower() not in SUFFIXES:
                continue
            number = int(match[1])
            if number in found:
                raise UnreadableVideoError(
                    f"Expected one picture for each number in {self.path}, got {file.name} and "
                    f"{found[number].name}."
                )
            found[number] = file
        if not found:
            raise UnreadableVideoError(
                f"Expected pictures whose names end in a number in {self.path}, such as "
                "frame_0001.jpg, got none."
            )
        self.numbers = sorted(found)
        self.numbered = found
        self.times = [(number - self.numbers[0]) / fps for number in self.numbers]

    @property
    def duration_s(self) -> float:
        """Seconds from the first picture to the end of the last."""
        return self.times[-1] + 1 / self.fps

    def close(self) -> None:
        """Nothing stays open."""

    def __enter__(self) -> "FrameFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def place(self, time_s: float) -> int:
        """Which of ``numbers`` is shown at a time.

        Raises:
            ClipSpanError: the last one has ended by then.
        """
        if time_s > self.duration_s + END_SLACK_S:
            raise ClipSpanError(
                f"Expected a time within the {self.duration_s:.3f} s of {self.path}, got "
                f"{time_s:.3f} s."
            )
        return max(0, bisect.bisect_right(self.times, time_s) - 1)

    def at(self, time_s: float) -> Picture:
        """The picture that is shown at a time, see :meth:`VideoFile.at`.

        Raises:
            ClipSpanError: the last one has ended by then.
            DamagedVideoError: its file is none that can be read.
        """
        place = self.place(time_s)
        file = self.numbered[self.numbers[place]]
        try:
            with Image.open(file) as image:
                pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise DamagedVideoError(
                f"Expected a whole picture in {file}, got one that cannot be read ({error})."
            ) from error
        return Picture(self.times[place], av.VideoFrame.from_ndarray(pixels, format="rgb24"))
