"""Cutting long videos into short small ones: what is decoded often is best made small once.

A video of hours at 1440 rows becomes a folder of pieces of 15 s at 288 rows (the form in which
EgoDTM was trained), each with a key frame every second. Frames keep their times to the tick, so the
folder stands wherever the video did, and clips of it show the same frames.
"""

import csv
import errno
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal

import av
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from egodtm_robot.core.errors import ConfigurationError, DiskSpaceError, EgoDTMRobotError
from egodtm_robot.core.processes.maps import unordered_map
from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.clips.decoded_frame import Picture
from pretrain.clips.video_file import DecodingError, UnreadableVideoError, VideoFile
from pretrain.clips.video_pieces import PIECE_SUFFIX, is_video_pieces, piece_starts

SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mts", ".ts")
"""Endings of the files that are taken for videos, in lower case."""

TICKS = 90_000
"""A second in pieces' time base: that of 24, 25, 29.97, 30, 50, 59.94 and 60 frames a second."""

FAILURES = "failures.csv"
"""In the folder of the pieces: videos that could not be cut, and why."""

_FURTHEST_KEY_FRAME = 600


Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
]


class RechunkError(EgoDTMRobotError, RuntimeError):
    """There is nothing to cut."""


@dataclass
class RechunkConfig:
    """What pieces are like."""

    seconds: int = 15
    """Length of a piece."""

    short_side: int = 288
    """Of the picture, pixels; smaller ones stay as they are."""

    crf: int = 23
    """x264's quality: 18 looks like the source, 23 is its default, 28 is visibly worse."""

    preset: Preset = "veryfast"
    """x264's effort."""

    def __post_init__(self) -> None:
        if self.seconds < 1 or self.short_side < 16 or not 0 <= self.crf <= 51:
            raise ConfigurationError(
                "Expected seconds of at least 1, a short_side of at least 16 and crf from 0 to 51, "
                f"got {self.seconds}, {self.short_side} and {self.crf}."
            )


def rechunk(
    videos: str | Path,
    out: str | Path,
    config: RechunkConfig,
    workers: int = 2,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, str]:
    """Cut every video below a folder; run again to go on after an interruption.

    ``videos/P01/P01_01.MP4`` becomes the folder ``out/P01/P01_01.MP4``, which is there once all of
    its pieces are. A video that is there already is left alone.

    Args:
        videos: folder of the videos.
        out: folder of the pieces; made if missing.
        config: what they are like.
        workers: processes, each at one video; 0 works in this one.
        on_progress: called with the videos done and their number.

    Returns:
        Why videos failed, by their paths below ``videos``; also written to ``out/failures.csv``.

    Raises:
        RechunkError: there are no videos.
        WorkerDiedError: worker processes died again and again at the same video.
        DiskSpaceError: the disk is full; what is whole is kept.
    """
    videos, out = Path(videos), Path(out)
    found = find_videos(videos, out)
    out.mkdir(parents=True, exist_ok=True)
    todo = [name for name in found if not is_video_pieces(out / name)]
    failures: dict[str, str] = {}
    done = len(found) - len(todo)
    on_progress(done, len(found))
    for name, reason in unordered_map(partial(_cut, videos, out, config), todo, workers):
        if reason is not None:
            failures[name] = reason
        done += 1
        on_progress(done, len(found))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("video", "reason"))
    writer.writerows(sorted(failures.items()))
    write_atomically(out / FAILURES, table.getvalue().encode())
    return failures


def find_videos(videos: Path, out: Path) -> list[str]:
    """Paths of videos below a folder, without hidden ones and those of ``out``.

    Raises:
        RechunkError: there are none.
    """
    found = []
    for file in sorted(videos.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(videos).parts)
        if file.suffix.lower() in SUFFIXES and file.is_file() and not hidden:
            if file.resolve().is_relative_to(out.resolve()):
                continue
            found.append(str(file.relative_to(videos)))
    if not found:
        raise RechunkError(f"Expected videos ({', '.join(SUFFIXES)}) below {videos}, got none.")
    return found


def rechunk_video(video: Path, folder: Path, config: RechunkConfig) -> int:
    """Cut one video.

    Pieces gather in a hidden folder beside ``folder``, which takes its name when all are there; a
    run that follows a killed one goes on behind the last whole piece.

    Args:
        video: the file.
        folder: of the pieces.
        config: what they are like.

    Returns:
        How many pieces there are.

    Raises:
        DecodingError: the video is damaged or cut short.
        DiskSpaceError: the disk is full.
    """
    part = folder.with_name(f".{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    made = piece_starts(part)
    try:
        with VideoFile(video) as file:
            first_s = made[-1] + config.seconds if made else 0
            reformatter = VideoReformatter()
            for piece in _pieces(file, first_s, config.seconds):
                _write_piece(part / f"{piece.start}{PIECE_SUFFIX}", piece, reformatter, config)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskSpaceError(
                errno.ENOSPC,
                f"Expected room for pieces of {video} in {folder.parent}, but the disk is full. "
                "Make room and run the same command again: it goes on.",
            ) from error
        raise
    os.replace(part, folder)
    return len(piece_starts(folder))


@dataclass
class _Piece:
    """Pictures of a piece, to be used up in turn, and until when the last of them is shown."""

    start: int
    pictures: Iterator[Picture]
    end_s: float


def _pieces(file: VideoFile, first_s: int, seconds: int) -> Iterator[_Piece]:
    """Pieces that show something, one after another."""
    pictures = file.pictures(first_s)
    ahead = next(pictures, None)

    def of_piece(piece: _Piece) -> Iterator[Picture]:
        nonlocal ahead
        border_s = float(piece.start + seconds)
        while ahead is not None and ahead.time_s < border_s:
            last = ahead
            ahead = next(pictures, None)
            if ahead is None:
                piece.end_s = max(last.time_s + 1 / file.fps, min(file.duration_s or 0, border_s))
            else:
                piece.end_s = min(ahead.time_s, border_s)
            yield last

    while ahead is not None:
        piece = _Piece(int(max(0.0, ahead.time_s) // seconds) * seconds, iter(()), 0.0)
        piece.pictures = of_piece(piece)
        yield piece


def _write_piece(
    path: Path, piece: _Piece, reformatter: VideoReformatter, config: RechunkConfig
) -> None:
    unfinished = path.with_name(path.name + ".unfinished")
    # No B-frames: a frame's place in the file is its place in time, and a seek wastes nothing.
    options = {"crf": str(config.crf), "preset": config.preset, "forced-idr": "1"}
    with av.open(str(unfinished), "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=30, options=options)
        stream.pix_fmt = "yuv420p"
        stream.max_b_frames = 0
        stream.gop_size = _FURTHEST_KEY_FRAME
        stream.thread_count = 1
        stream.codec_context.time_base = stream.time_base = Fraction(1, TICKS)
        shape: tuple[int, ...] | None = None
        second = -1
        held: av.Packet | None = None
        for picture in piece.pictures:
            image = picture.whole(config.short_side, reformatter)
            if shape is None:
                shape = image.shape
                stream.height, stream.width = shape[:2]
            elif shape != image.shape:
                raise UnreadableVideoError(
                    f"Expected pictures of one size, got {shape[1::-1]} and {image.shape[1::-1]} "
                    f"at {picture.time_s:.3f} s."
                )
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = _ticks(picture.time_s, piece.start)
            frame.time_base = Fraction(1, TICKS)
            if frame.pts // TICKS != second:
                second = frame.pts // TICKS
                frame.pict_type = PictureType.I
            held = _mux(file, held, stream.encode(frame))
        held = _mux(file, held, stream.encode())
        assert held is not None
        # The last picture stays in view until the next piece shows its first.
        held.duration = max(1, _ticks(piece.end_s, piece.start) - (held.pts or 0))
        file.mux(held)
    os.replace(unfinished, path)


def _ticks(time_s: float, start: int) -> int:
    return max(0, round((Fraction(time_s) - start) * TICKS))


def _mux(
    file: av.container.OutputContainer, held: av.Packet | None, packets: list[av.Packet]
) -> av.Packet | None:
    """Write all packets but the last, which is kept back."""
    for packet in packets:
        if held is not None:
            file.mux(held)
        held = packet
    return held


def _cut(videos: Path, out: Path, config: RechunkConfig, name: str) -> str | None:
    """Cut a video; why it failed, None if it did not."""
    try:
        rechunk_video(videos / name, out / name, config)
    except DecodingError as error:
        return str(error)
    return None
