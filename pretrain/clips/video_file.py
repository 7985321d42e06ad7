"""Reading the frame that a video shows at a given time, with as little decoding as that takes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from egodtm_robot.core.errors import EgoDTMRobotError
from pretrain.clips.decoded_frame import UPRIGHT, Orientation, Picture


class DecodingError(EgoDTMRobotError, RuntimeError):
    """A clip cannot be decoded; the base of all reasons."""


class VideoNotFoundError(DecodingError):
    """There is no file or folder at the video's path."""


class UnreadableVideoError(DecodingError):
    """What lies there is no video, or one of a kind that cannot be decoded."""


class TruncatedVideoError(DecodingError):
    """A video's file ends before the video does."""


class DamagedVideoError(DecodingError):
    """Bytes of a video are not those that were recorded."""


class ClipSpanError(DecodingError):
    """A clip's start and end do not lie in its video in this order."""


@dataclass
class ReadCounts:
    """What reading took so far."""

    packets: int = 0
    """Compressed frames read from the file."""

    frames: int = 0
    """Frames decoded."""

    seeks: int = 0
    """Jumps to another key frame."""


END_SLACK_S = 0.5
"""How far beyond its last frame a video may be asked: annotations round its duration."""

_SEEK_COST_FRAMES = 8
# Where the file has no index of key frames, they are taken to be this far apart until seen.
_UNKNOWN_GROUP_S = 2.0
_DEFAULT_RATE = Fraction(30)


class VideoFile:
    """A video of any container and codec that PyAV decodes. Use as a context manager, or close it.

    The frame at a time is the last one whose presentation time is not after it, whatever the frame
    rate does; before the first frame it is the first. Times that grow are read in one pass, which
    jumps ahead where a key frame lies between that saves more frames than a jump costs.

    Args:
        path: of the file.
        threads: of the decoder; 1 suits many processes, 0 takes one for each core.
        origin_s: the container's own time that counts as 0 s; None for the one at which its first
            stream begins, as players count.

    Raises:
        VideoNotFoundError: there is no such file.
        UnreadableVideoError: it is no video, or its codec is not known.
        TruncatedVideoError: an MP4 without its index, as an interrupted copy leaves it.
    """

    def __init__(self, path: str | Path, threads: int = 1, origin_s: float | None = None) -> None:
        self.path = Path(path)
        self._given_origin_s = origin_s
        self.counts = ReadCounts()
        self._threads = threads
        self._open()

    def _open(self) -> None:
        self._container = _open_container(self.path)
        streams = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & av.stream.Disposition.attached_pic
        ]
        if not streams:
            # An index that breaks off leaves streams of no kind.
            sound = len(self._container.streams.audio) > 0
            self._container.close()
            if not sound and _is_mp4(self.path):
                raise _cut_short(self.path)
            raise UnreadableVideoError(f"Expected a video in {self.path}, got none in the file.")
        stream = self._stream = streams[0]
        # None where FFmpeg has no decoder, though it is not typed so.
        if getattr(stream, "codec_context", None) is None:
            self._container.close()
            raise UnreadableVideoError(
                f"Expected a codec that FFmpeg decodes in {self.path}, got one that it does not."
            )
        for other in self._container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        stream.codec_context.thread_count = self._threads
        stream.codec_context.thread_type = "AUTO" if self._threads != 1 else "SLICE"
        self._time_base = stream.time_base or Fraction(1, av.time_base)
        aspect = stream.sample_aspect_ratio
        self._pixel_aspect = float(aspect) if aspect else 1.0
        start_s = Fraction(self._container.start_time or 0, av.time_base)
        if self._given_origin_s is not None:
            start_s = Fraction(self._given_origin_s)
        self._origin = round(start_s / self._time_base)
        rate = stream.average_rate or stream.guessed_rate or _DEFAULT_RATE
        self._interval = max(1, round(1 / (rate * self._time_base)))
        self._group = round(_UNKNOWN_GROUP_S / self._time_base)
        entries = stream.index_entries
        # MP4's index has times of decoding; those of presentation come this much later.
        first = entries[0].timestamp if len(entries) else 0
        begins = first if stream.start_time is None else stream.start_time
        self._delay = max(0, begins - first)
        self._restart(at_start=True)

    def _restart(self, *, at_start: bool) -> None:
        """Forget what was decoded: the next frame comes from wherever the container stands."""
        self._decoded = self._decode(at_start)
        self._shown: _Frame | None = None
        self._next: _Frame | None = None
        self._ended = False

    @property
    def fps(self) -> float:
        """Frames a second, as the header has it or as it looks at the start."""
        return float(1 / (self._interval * self._time_base))

    @property
    def duration_s(self) -> float | None:
        """Seconds from the video's start to its end as its header has it; None if it does not."""
        if self._stream.duration is not None:
            first = self._stream.start_time or 0
            return self._seconds(first + self._stream.duration)
        if self._container.duration is not None:
            return self._container.duration / av.time_base
        return None

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def at(self, time_s: float) -> Picture:
        """The picture that is shown at a time.

        Args:
            time_s: seconds from the video's start.

        Raises:
            ClipSpanError: the video has ended by then.
            TruncatedVideoError: it should not have, by its header.
            DamagedVideoError: the frame was decoded from changed bytes.
        """
        limit = self._last_tick(time_s)
        if self._worth_seeking(limit):
            self._seek(limit)
        self._advance(limit)
        # Before the first frame is shown nothing is; the first frame is what comes next.
        shown = self._shown or self._next
        if shown is None:
            raise DamagedVideoError(f"Expected frames in {self.path}, got none that decodes.")
        if self._ended:
            self._check_end(time_s, shown)
        if shown.damaged:
            raise DamagedVideoError(
                f"Expected intact data in {self.path} at {time_s:.3f} s, got bytes that do not "
                "decode. Copy the file again."
            )
        orientation = _orientation(shown.frame)
        return Picture(self._seconds(shown.ticks), shown.frame, orientation, self._pixel_aspect)

    def pictures(self, start_s: float = 0.0) -> Iterator[Picture]:
        """Every picture that is first shown at or after a time, in order.

        Raises:
            DamagedVideoError: a frame was decoded from changed bytes.
            TruncatedVideoError: the file ends before its header says.
        """
        shown = self.at(start_s)
        if shown.time_s >= start_s:
            yield shown
        while self._next is not None:
            yield self.at(self._seconds(self._next.ticks))
        if self._shown is not None and self.duration_s is not None:
            self._check_end(self.duration_s, self._shown)

    def _check_end(self, time_s: float, last: "_Frame") -> None:
        end_s = self._seconds(last.ticks + max(last.frame.duration or 0, self._interval))
        if time_s <= end_s + END_SLACK_S:
            return
        promised = self.duration_s
        if promised is not None and time_s <= promised + END_SLACK_S:
            raise TruncatedVideoError(
                f"Expected {promised:.3f} s of video in {self.path} as its header says, got "
                f"frames until {end_s:.3f} s. Copy the file again."
            )
        raise ClipSpanError(
            f"Expected a time within the {end_s:.3f} s of {self.path}, got {time_s:.3f} s."
        )

    # -- decoding --------------------------------------------------------------------------------

    def _seconds(self, ticks: int) -> float:
        return float((ticks - self._origin) * self._time_base)

    def _last_tick(self, time_s: float) -> int:
        """The last of the stream's ticks that is not after a time."""
        tick = math.floor(Fraction(time_s) / self._time_base) + self._origin
        # The fraction and its nearest float may lie on different sides of a tick.
        while self._seconds(tick + 1) <= time_s:
            tick += 1
        return tick

    def _advance(self, limit: int) -> None:
        """Decode until the next frame is one that comes after ``limit``."""
        while not self._ended:
            if self._next is not None:
                if self._next.ticks > limit:
                    return
                self._shown = self._next
            self._next = next(self._decoded, None)
            self._ended = self._next is None

    def _decode(self, at_start: bool) -> "Iterator[_Frame]":
        """Frames from where the container stands, in the order of presentation."""
        damaged = False
        last_key: int | None = None
        # Frames before the key frame that was jumped to lean on ones that are not decoded.
        floor: int | None = None
        for packet in self._packets():
            key = None if packet is None or not packet.is_keyframe else packet.pts
            if key is not None:
                if last_key is not None:
                    self._group = max(self._group, key - last_key)
                last_key = key
                if floor is None and not at_start:
                    floor = key
            try:
                frames = self._stream.codec_context.decode(packet)
            except av.error.FFmpegError:
                damaged = True
                continue
            for frame in frames:
                self.counts.frames += 1
                # Until the next key frame others may lean on what is damaged.
                damaged = frame.is_corrupt or (damaged and not frame.key_frame)
                ticks = frame.pts if frame.pts is not None else frame.dts
                if ticks is None:
                    raise UnreadableVideoError(
                        f"Expected a time with every frame of {self.path}, got a stream without. "
                        "Put it into a container that has them: ffmpeg -i "
                        f"{self.path.name} -c copy timed.mp4"
                    )
                if floor is None or ticks >= floor:
                    yield _Frame(ticks, frame, damaged)

    def _packets(self) -> "Iterator[av.Packet | None]":
        """Packets of the stream, then None, at which the decoder gives what it holds."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError):
                # A file that ends in the middle of something: what was read still counts.
                packet = None
            if packet is None or not packet.size:
                yield None
                return
            self.counts.packets += 1
            yield packet

    # -- seeking ---------------------------------------------------------------------------------

    def _worth_seeking(self, limit: int) -> bool:
        if self._shown is not None and limit < self._shown.ticks:
            return True
        position = self._next.ticks if self._next is not None else self._origin
        if self._ended or limit <= position:
            return False
        gain = _SEEK_COST_FRAMES * self._interval
        entries = self._stream.index_entries
        known = len(entries)
        if not known or limit > entries[known - 1].timestamp + self._group:
            return limit > position + self._group + gain
        place = entries.search_timestamp(limit - self._delay)
        return place >= 0 and entries[place].timestamp + self._delay > position + gain

    def _seek(self, limit: int) -> None:
        """Stand at the last key frame that is shown at or before ``limit``."""
        target = limit
        first = self._stream.start_time or 0
        step = self._group
        while target > first:
            self.counts.seeks += 1
            try:
                self._container.seek(target, stream=self._stream)
            except (av.error.FFmpegError, OSError):
                break
            self._restart(at_start=False)
            self._next = next(self._decoded, None)
            if self._next is not None and self._next.ticks <= limit:
                return
            # Some containers seek by the time of decoding, and land behind what they were asked.
            target -= step
            step *= 2
        self.counts.seeks += 1
        self._container.close()
        self._open()


@dataclass(slots=True)
class _Frame:
    """A decoded frame, when it is shown, and whether it leans on bytes that do not decode."""

    ticks: int
    frame: av.VideoFrame
    damaged: bool


def _open_container(path: Path) -> av.container.InputContainer:
    if not path.exists():
        raise VideoNotFoundError(f"Expected a video at {path}, but there is nothing.")
    if not path.is_file():
        raise UnreadableVideoError(f"Expected a video in {path}, got something that is no file.")
    if not path.stat().st_size:
        raise TruncatedVideoError(f"Expected a video in {path}, got an empty file.")
    try:
        return av.open(str(path), metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        if _is_mp4(path):
            raise _cut_short(path) from error
        raise UnreadableVideoError(
            f"Expected a video in {path}, got a file that FFmpeg cannot open "
            f"({error.strerror or error})."
        ) from error


def _is_mp4(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(12)[4:8] == b"ftyp"
    except OSError:
        return False


def _cut_short(path: Path) -> TruncatedVideoError:
    return TruncatedVideoError(
        f"Expected a whole MP4 in {path}, got one whose index is missing: it was cut short while "
        "it was copied or recorded. Copy it again."
    )


def _orientation(frame: av.VideoFrame) -> Orientation:
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return UPRIGHT
    return Orientation.of_matrix(np.frombuffer(matrix, np.int32))
