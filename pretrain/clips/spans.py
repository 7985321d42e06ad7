"""Clips out of videos: a frame for each equal segment, decoded once for all clips that show it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol, Self

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from egodtm_robot.core.configuration import Bounds, Seed
from egodtm_robot.core.errors import ConfigurationError
from pretrain.clips.decoded_frame import Picture, Shares
from pretrain.clips.frame_folder import FrameFolder
from pretrain.clips.video_file import (
    END_SLACK_S,
    ClipSpanError,
    DecodingError,
    UnreadableVideoError,
    VideoFile,
)
from pretrain.clips.video_pieces import VideoPieces, is_video_pieces

Sampling = Literal["central", "random"]
"""Where in its segment a frame is taken."""

DEFAULT_FPS = 30.0
"""Of a folder of frames whose rate is not told."""

OVERHANG_S = 5.0
"""How far before or beyond its video a clip may reach and is cut to it, seconds; one that reaches
farther names another video than the one that is there."""


@dataclass
class DecodingConfig:
    """What a clip's frames are like."""

    frames: int = 4
    """T, frames a clip, one from each of as many equal segments."""

    resolution: int = 224
    """Short side of the frames, pixels."""

    aspect: Annotated[float, Bounds(0.1, 10.0)] = 1.0
    """Width of the frames by their height: the largest such part in the middle of a picture is
    kept. 1 keeps squares, 1.7778 all of a picture of 16 : 9, for loaders that show more of it."""

    sampling: Sampling = "central"
    """``central``, the middle of each segment, for a fixed set; ``random`` in it, to train on."""

    seed: Seed = 0
    """Of random sampling: a clip's frames depend on this and on its key, on nothing else."""

    threads: Annotated[int, Bounds(0, 1024)] = 1
    """Of one decoder: 1 where many processes decode, 0 for one on each core."""

    depth_size: int = 56
    """Short side of depth maps that a source brings along, cells: the grid trained on. They show
    what the frames show."""

    def __post_init__(self) -> None:
        if min(self.frames, self.resolution, self.depth_size) < 1 or self.threads < 0:
            raise ConfigurationError(
                "Expected frames, resolution and depth_size of at least 1 and no fewer than 0 "
                f"threads, got {self.frames}, {self.resolution}, {self.depth_size} and "
                f"{self.threads}."
            )


@dataclass
class DecodedClip:
    """A clip's frames.

    Attributes:
        frames: uint8 (T, H, W, 3), RGB; of one side where the aspect is 1.
        times: float64 (T,), when each is first shown, seconds from the video's start.
        cut_s: how much of the span lay outside of the video, seconds; 0 where that is no more than
            rounding of its length explains (END_SLACK_S).
    """

    frames: np.ndarray
    times: np.ndarray
    cut_s: float = 0.0


@dataclass(frozen=True)
class Span:
    """A clip to be decoded.

    Attributes:
        start_s: where it begins, seconds from the video's start.
        end_s: where it ends.
        crop: the part of the picture to take; None for all of it.
        generator: draws the time in each segment; None takes the middle.
    """

    start_s: float
    end_s: float
    crop: Shares | None = None
    generator: np.random.Generator | None = None


class Video(Protocol):
    """What frames are taken from: a file, a folder of frames or of pieces, a stored clip.

    Times that grow from call to call are read in one pass.
    """

    @property
    def duration_s(self) -> float | None:
        """Seconds, None if that shows only at its end."""
        ...

    def at(self, time_s: float) -> Picture:
        """The picture shown at a time: the last that does not come after it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_video(path: str | Path, *, threads: int = 1, fps: float | None = None) -> Video:
    """Open whatever kind of video lies at a path.

    Args:
        path: a file, a folder of numbered pictures, or one of pieces that rechunking wrote.
        threads: of the decoder of files.
        fps: pictures a second of a folder; None for DEFAULT_FPS.

    Raises:
        DecodingError: one of its kinds: nothing is there, or nothing that decodes.
    """
    path = Path(path)
    if not path.is_dir():
        return VideoFile(path, threads)
    if is_video_pieces(path):
        return VideoPieces(path, threads)
    return FrameFolder(path, fps or DEFAULT_FPS)


def segment_times(
    start_s: float, end_s: float, frames: int, generator: np.random.Generator | None = None
) -> np.ndarray:
    """One time in each of ``frames`` equal segments: its middle, or drawn from it.

    Returns:
        float64 (frames,), ascending.
    """
    inside = np.full(frames, 0.5) if generator is None else generator.random(frames)
    return start_s + (np.arange(frames) + inside) * ((end_s - start_s) / frames)


def decode_clip(
    path: str | Path,
    start_s: float,
    end_s: float,
    *,
    frames: int = 4,
    resolution: int = 224,
    crop: Shares | None = None,
    generator: np.random.Generator | None = None,
    fps: float | None = None,
    threads: int = 1,
) -> DecodedClip:
    """One clip of a video.

    Args:
        path: see :func:`open_video`.
        start_s: where it begins, seconds from the video's start.
        end_s: where it ends.
        frames: T, one from each of as many equal segments.
        resolution: S, side of the frames.
        crop: the part of the picture to take; None for all of it.
        generator: draws the time in each segment; None takes the middle.
        fps: of a folder of pictures.
        threads: of the decoder.

    Raises:
        DecodingError: one of its kinds, saying what is wrong with the video or the span.
    """
    with open_video(path, threads=threads, fps=fps) as video:
        span = Span(start_s, end_s, crop, generator)
        (_, found), *_ = decode_spans(video, [span], frames, resolution)
    if isinstance(found, DecodingError):
        raise found
    return found


def frame_size(resolution: int, aspect: float = 1.0) -> tuple[int, int]:
    """Rows and columns of frames with a short side and a width by height."""
    long_side = round(resolution * max(aspect, 1 / aspect))
    return (resolution, long_side) if aspect >= 1 else (long_side, resolution)


def decode_spans(
    video: Video, spans: Sequence[Span], frames: int, resolution: int, aspect: float = 1.0
) -> Iterator[tuple[int, DecodedClip | DecodingError]]:
    """Clips of one video in a single pass: what neighbors and overlapping ones share is decoded
    once, and what lies far between two is jumped over.

    Args:
        video: opened.
        spans: in any order.
        frames: T.
        resolution: short side of the frames.
        aspect: their width by their height.

    Yields:
        The number of a span and its clip, or why there is none: at first spans that do not fit the
        video, then clips in the order of their last frames.
    """
    rows, columns = frame_size(resolution, aspect)
    wanted: list[tuple[float, int, int]] = []
    clips: dict[int, DecodedClip] = {}
    for number, span in enumerate(spans):
        try:
            start_s, end_s = check_span(span.start_s, span.end_s, video.duration_s)
            if math.isinf(end_s):
                raise ClipSpanError(
                    "Expected the end of a clip in seconds for a video whose length only shows "
                    "when it is read through, got none."
                )
        except ClipSpanError as error:
            yield number, error
            continue
        times = segment_times(start_s, end_s, frames, span.generator)
        wanted += [(time_s, number, place) for place, time_s in enumerate(times.tolist())]
        clips[number] = DecodedClip(
            np.empty((frames, rows, columns, 3), np.uint8),
            np.empty(frames),
            _outside_s(span, start_s, end_s),
        )
    reformatter = VideoReformatter()
    cuts: dict[Shares | None, np.ndarray] = {}
    shown_s = math.nan
    for time_s, number, place in sorted(wanted):
        clip = clips.get(number)
        if clip is None:
            continue
        crop = spans[number].crop
        try:
            picture = video.at(time_s)
            if picture.time_s != shown_s:
                shown_s = picture.time_s
                cuts.clear()
            if crop not in cuts:
                cuts[crop] = _cut(picture, (rows, columns), reformatter, crop)
        except DecodingError as error:
            del clips[number]
            yield number, error
            continue
        clip.frames[place] = cuts[crop]
        clip.times[place] = picture.time_s
        if place == frames - 1:
            yield number, clips.pop(number)


def _cut(
    picture: Picture, size: tuple[int, int], reformatter: VideoReformatter, crop: Shares | None
) -> np.ndarray:
    try:
        return picture.rectangle(*size, reformatter, crop)
    except av.error.FFmpegError as error:
        raise UnreadableVideoError(
            f"Expected {picture.frame.format.name} pictures that can be made RGB, but FFmpeg "
            f"refuses those of {picture.frame.width} x {picture.frame.height}: {error}."
        ) from error


def check_span(
    start_s: float, end_s: float, duration_s: float | None = None
) -> tuple[float, float]:
    """A span within a video; what lies OVERHANG_S or less outside of it is cut off.

    Annotations reach beyond their video all the time. EgoVLP's and LaViLa's loaders cut such clips
    as well, at whatever distance; here one that reaches far beyond is taken for a mistake.

    Args:
        start_s: where the clip begins, seconds.
        end_s: where it ends; infinity for the video's end.
        duration_s: of the video, None if not known.

    Raises:
        ClipSpanError: its length is nothing or less, nothing of it lies in the video, or more than
            OVERHANG_S of it lie outside.
    """
    span = f"{start_s:g} to {end_s:g} s"
    if not math.isfinite(start_s) or math.isnan(end_s):
        raise ClipSpanError(f"Expected a clip's start and end in seconds, got {span}.")
    if start_s == end_s:
        raise ClipSpanError(f"Expected a clip of some length, got one of none: {span}.")
    if start_s > end_s:
        raise ClipSpanError(f"Expected a clip that ends after its start, got {span}.")
    if start_s < -OVERHANG_S or end_s <= 0:
        raise ClipSpanError(f"Expected a clip that starts at 0 s or later, got {span}.")
    last_s = math.inf if duration_s is None else duration_s
    if start_s >= last_s:
        raise ClipSpanError(
            f"Expected a clip within the video's {last_s:.3f} s, got {span}: nothing of it "
            "is there."
        )
    if end_s > last_s + OVERHANG_S and not math.isinf(end_s):
        raise ClipSpanError(
            f"Expected a clip within the video's {last_s:.3f} s, or up to {OVERHANG_S:g} s beyond, "
            f"which are cut off; got {span}."
        )
    return max(0.0, start_s), min(end_s, last_s)


def _outside_s(span: Span, start_s: float, end_s: float) -> float:
    """How much of a span was cut off, as :attr:`DecodedClip.cut_s` counts it."""
    beyond_s = 0.0 if math.isinf(span.end_s) else span.end_s - end_s
    outside_s = max(start_s - span.start_s, beyond_s)
    return outside_s if outside_s > END_SLACK_S else 0.0
