"""Small videos whose frames show their own number, in whatever form recordings come."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CELL = 16
SIDE = 4 * CELL
"""Of the square that shows the number: 4 x 4 cells, black or white, one bit each."""

TICKS = 90_000
"""A second of the time base in which videos are written, if their codec takes that."""


def number_frame(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A gray picture with a number in its middle, uint8 (height, width, 3)."""
    image = np.full((height, width, 3), 128, np.uint8)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    for bit in range(16):
        row, column = divmod(bit, 4)
        y, x = top + row * CELL, left + column * CELL
        image[y : y + CELL, x : x + CELL] = 235 if number >> bit & 1 else 20
    return image


def read_number(square: np.ndarray) -> int:
    """The number of a square picture cut from the middle of such a frame, of any size."""
    side = len(square)
    centers = ((np.arange(4) + 0.5) * side / 4).astype(int)
    gray = square[np.ix_(centers, centers)].mean(axis=2).ravel()
    return sum(1 << bit for bit in range(16) if gray[bit] > 128)


def write_video(
    path: Path,
    frames: Sequence[np.ndarray] | int = 30,
    *,
    times: Sequence[float] | None = None,
    rate: int = 10,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    gop: int = 10,
    b_frames: int = 2,
    open_gop: bool = False,
    audio: bool = False,
    rotation: int | None = None,
    mirrored: bool = False,
    container: str | None = None,
    container_options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    transfer: int | None = None,
) -> Path:
    """Write frames, or as many numbered ones, at given times or one after another."""
    if isinstance(frames, int):
        frames = [number_frame(number) for number in range(frames)]
    times = [place / rate for place in range(len(frames))] if times is None else times
    ticks = 10_000 if codec in ("mpeg4", "mjpeg") else TICKS
    options = {"crf": "10"} if "x26" in codec else {}
    if codec == "libx264":
        options |= {"x264-params": f"open-gop={int(open_gop)}:scenecut=0:keyint-min={gop}"}
    if codec == "libx265":
        options |= {"x265-params": "log-level=error"}
    options |= codec_options or {}
    with av.open(str(path), "w", format=container, options=container_options or {}) as file:
        stream = file.add_stream(codec, rate=Fraction(rate), options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = stream.time_base = Fraction(1, ticks)
        stream.gop_size = gop
        stream.max_b_frames = b_frames
        stream.thread_count = 1
        if transfer is not None:
            stream.codec_context.color_trc = transfer
            stream.codec_context.color_primaries = 9
            stream.codec_context.colorspace = 9
        if mirrored:
            stream.set_display_matrix([-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30])
        if rotation is not None:
            stream.set_display_rotation(rotation)
        sound = file.add_stream("aac", rate=16_000) if audio else None
        for image, time_s in zip(frames, times, strict=True):
            kind = "rgb48le" if image.dtype == np.uint16 else "rgb24"
            frame = av.VideoFrame.from_ndarray(image, format=kind)
            if transfer is not None:
                frame = frame.reformat(format=pix_fmt, dst_colorspace=9)
                frame.color_trc, frame.color_primaries = transfer, 9
            frame.pts, frame.time_base = round(time_s * ticks), Fraction(1, ticks)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if sound is not None:
            samples = np.zeros((1, 16_000), np.float32)
            sound_frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            sound_frame.sample_rate = 16_000
            file.mux(sound.encode(sound_frame))
            file.mux(sound.encode())
    return path


def decoded_frames(path: Path) -> list[tuple[float, np.ndarray]]:
    """All frames of a video with their times, as PyAV gives them from start to end."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        start = Fraction(file.start_time or 0, av.time_base)
        return [
            (float((frame.pts or 0) * stream.time_base - start), frame.to_ndarray(format="rgb24"))
            for frame in file.decode(stream)
        ]
