"""Camera images as MP4 files: written, joined without another encoding, read, and compared."""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from egodtm_robot.demos.convert.contract import ConversionError

Codec = Literal["h264", "av1"]

# Without the encoder's look ahead: of little use between close key frames, and with it the same
# images gave other bytes once in some hundred times.
_X264 = "bframes=0:threads=1:rc-lookahead=0:mbtree=0"

_ENCODERS = {
    "h264": ("libx264", {"preset": "veryfast", "x264-params": _X264}),
    "av1": ("libsvtav1", {"preset": "8", "svtav1-params": "lp=1"}),
}

_TICKS_A_FRAME = 512
"""A round number, so that the MP4 writer keeps a file's clock and parts can be joined."""


def write_video(
    frames: np.ndarray,
    path: Path,
    fps: float,
    codec: Codec = "h264",
    crf: int = 18,
    keyframe_interval: int = 2,
) -> None:
    """Encode frames; the same ones give the same bytes.

    Args:
        frames: uint8 (T, H, W, 3); H and W even, since codecs share color among 2 x 2 pixels.
        path: of the MP4 file.
        fps: frames a second.
        codec: of the video.
        crf: constant rate factor of the encoder; the smaller, the better and larger.
        keyframe_interval: frames from one key frame to the next; few make random access fast.
    """
    import av

    encoder, options = _ENCODERS[codec]
    if codec == "av1":
        os.environ.setdefault("SVT_LOG", "1")  # errors alone; it tells its settings otherwise
    rate = Fraction(fps).limit_denominator(100_000)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream(
            encoder,
            rate,
            options={"crf": str(crf), "g": str(keyframe_interval), **options},
        )
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.time_base = 1 / (rate * _TICKS_A_FRAME)
        stream.codec_context.time_base = 1 / rate
        for number, image in enumerate(frames):
            frame = _clean_frame(image)
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _clean_frame(image: np.ndarray) -> Any:
    """An image as the encoders take it, with zeros where lines are filled up.

    What happens to lie there in memory else finds its way into some encoders' decisions, and the
    same images would not always give the same bytes.
    """
    import av

    given = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    found = given.reformat(format="yuv420p", threads=1)
    clean = av.VideoFrame(found.width, found.height, "yuv420p")
    for source, target in zip(found.planes, clean.planes, strict=True):
        buffer: Any = source
        lines = np.frombuffer(buffer, np.uint8).reshape(source.height, source.line_size)
        filled = np.zeros((target.height, target.line_size), np.uint8)
        filled[:, : source.width] = lines[:, : source.width]
        target.update(filled.tobytes())
    clean.colorspace, clean.color_range = found.colorspace, found.color_range
    return clean


def join_videos(parts: Sequence[tuple[Path, int]], out: Path, fps: float) -> None:
    """Put videos of the same encoder one behind the other, packet by packet.

    Args:
        parts: of each its file and number of frames.
        out: the MP4 file to write.
        fps: frames a second of all of them.
    """
    import av

    tick = 1 / (Fraction(fps).limit_denominator(100_000) * _TICKS_A_FRAME)
    with av.open(str(out), "w", options={"movflags": "faststart"}) as container:
        stream: Any = None
        before = 0
        for path, frames in parts:
            with av.open(str(path)) as part:
                source = part.streams.video[0]
                if stream is None:
                    stream = container.add_stream_from_template(source, opaque=True)
                    stream.time_base = tick
                for packet in part.demux(source):
                    if packet.pts is None or packet.dts is None:
                        continue  # the mark of the end
                    base = packet.time_base or tick
                    packet.pts = round(packet.pts * base / tick) + before * _TICKS_A_FRAME
                    packet.dts = round(packet.dts * base / tick) + before * _TICKS_A_FRAME
                    packet.duration = _TICKS_A_FRAME
                    packet.time_base = tick
                    packet.stream = stream
                    container.mux(packet)
            before += frames


def read_frames(
    path: Path, times_s: Sequence[float] | np.ndarray, fps: float, what: str
) -> np.ndarray:
    """The frames of a video at given times, uint8 (T, H, W, 3).

    Args:
        path: of the video.
        times_s: one for each frame, as the container counts them; ascending is fast.
        fps: frames a second; a frame may be half an interval away from its time.
        what: the frames are, for messages.

    Raises:
        ConversionError: the file is missing or damaged, or shows nothing at one of the times.
    """
    from pretrain.clips.video_file import DecodingError, VideoFile

    half = 0.5 / fps
    images = []
    try:
        with VideoFile(path, origin_s=0.0) as video:
            for time_s in times_s:
                picture = video.at(float(time_s) + 0.9 * half)
                if abs(picture.time_s - time_s) > half:
                    raise ConversionError(
                        f"Expected {what} in {path} with a frame at {time_s:.4f} s, the nearest "
                        f"one is at {picture.time_s:.4f} s. The video is shorter than the data "
                        "set says, or of another frame rate: copy it again."
                    )
                images.append(picture.frame.to_ndarray(format="rgb24"))
    except DecodingError as error:
        raise ConversionError(f"Expected {what} in a video that decodes. {error}") from error
    return np.stack(images)


def square_error(frames: np.ndarray, path: Path, fps: float) -> float:
    """Sum of the squared differences between frames and what their video shows.

    Args:
        frames: uint8 (T, H, W, 3), as they were given to :func:`write_video`.
        path: of the video.
        fps: of the video.
    """
    shown = read_frames(path, np.arange(len(frames)) / fps, fps, "what was just written")
    total = 0.0
    for given, seen in zip(frames, shown, strict=True):
        total += float(np.square(given.astype(np.int32) - seen.astype(np.int32)).sum())
    return total


def psnr(squares: float, values: int) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit values; infinite where nothing differs."""
    return float("inf") if squares == 0 else float(10 * np.log10(255**2 * values / squares))
