"""A video that was cut into short files, as one video again."""

import bisect
import math
from pathlib import Path

from pretrain.clips.decoded_frame import Picture
from pretrain.clips.video_file import UnreadableVideoError, VideoFile

PIECE_SUFFIX = ".mp4"
"""Pieces are named by the second of the video at which they begin: ``0.mp4``, ``15.mp4``, ..."""


class VideoPieces:
    """A folder of pieces, read as the video that they were cut from.

    Args:
        path: of the folder.
        threads: of the decoder, see :class:`VideoFile`.

    Raises:
        UnreadableVideoError: the folder holds no pieces.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self.path = Path(path)
        self._threads = threads
        self._starts = piece_starts(self.path)
        if not self._starts:
            raise UnreadableVideoError(
                f"Expected pieces of a video such as 0{PIECE_SUFFIX} in {self.path}, got none."
            )
        self._open: dict[int, VideoFile] = {}
        last = self._starts[-1]
        with VideoFile(self._file(last)) as piece:
            length_s = piece.duration_s
        self.duration_s = None if length_s is None else last + length_s

    def close(self) -> None:
        """Close the pieces that are open."""
        while self._open:
            self._open.popitem()[1].close()

    def __enter__(self) -> "VideoPieces":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def at(self, time_s: float) -> Picture:
        """The picture shown at a time of the whole video, see :meth:`VideoFile.at`."""
        place = max(0, bisect.bisect_right(self._starts, time_s) - 1)
        picture = self._at(place, time_s)
        if picture.time_s > time_s and place:
            # What is shown when a piece begins is the last frame of the one before.
            return self._at(place - 1, math.nextafter(self._starts[place], 0))
        return picture

    def _at(self, place: int, time_s: float) -> Picture:
        start = self._starts[place]
        if start not in self._open:
            # Two, because clips overlap.
            while len(self._open) > 1:
                self._open.pop(next(iter(self._open))).close()
            self._open[start] = VideoFile(self._file(start), self._threads, origin_s=0.0)
        picture = self._open[start].at(time_s - start)
        picture.time_s += start
        return picture

    def _file(self, start: int) -> Path:
        return self.path / f"{start}{PIECE_SUFFIX}"


def piece_starts(path: Path) -> list[int]:
    """Seconds at which the pieces in a folder begin, ascending."""
    return sorted(int(file.stem) for file in path.glob(f"*{PIECE_SUFFIX}") if file.stem.isdigit())


def is_video_pieces(path: Path) -> bool:
    """Whether a folder holds pieces of a video."""
    return bool(piece_starts(path))
