"""A video that was cut into short files, as one video again."""

from pathlib import Path

import numpy as np

from pretrain.clips.pictures import Picture
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
        self._open: tuple[int, VideoFile] | None = None
        last = self._starts[-1]
        with VideoFile(self._file(last)) as piece:
            length_s = piece.duration_s
        self.duration_s = None if length_s is None else last + length_s

    def close(self) -> None:
        """Close the piece that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def __enter__(self) -> "VideoPieces":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def at(self, time_s: float) -> Picture:
        """The picture shown at a time of the whole video, see :meth:`VideoFile.at`."""
        place = int(np.searchsorted(self._starts, time_s, side="right")) - 1
        start = self._starts[max(0, place)]
        if self._open is None or self._open[0] != start:
            self.close()
            self._open = (start, VideoFile(self._file(start), self._threads))
        picture = self._open[1].at(time_s - start)
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
