"""Films of rollouts: MP4, GIF and contact sheets with the outcome drawn into every frame."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from egodtm_robot.core.errors import EgoDTMRobotError

_SUCCESS = (46, 160, 67)
_SOLVED = (210, 153, 34)
_RUNNING = (110, 118, 129)
_FAILURE = (207, 34, 46)


class VideoError(EgoDTMRobotError, ValueError):
    """Frames that cannot be made into a film."""


@dataclass(frozen=True)
class EpisodeFilm:
    """The frames of one episode and what became of it.

    Attributes:
        frames: uint8 (T, H, W, 3), the first before the first action.
        solved: bool (T,), whether the task was solved at each frame.
        success: whether the episode counts as a success.
        title: what to write above the picture, e.g. the task and the seed.
    """

    frames: np.ndarray
    solved: np.ndarray
    success: bool
    title: str = ""

    def __post_init__(self) -> None:
        frames, solved = self.frames, self.solved
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
            raise VideoError(
                "Expected frames (T, H, W, 3) uint8 with T >= 1, got "
                f"{frames.shape} {frames.dtype}."
            )
        if solved.shape != (len(frames),):
            raise VideoError(f"Expected one flag a frame, {len(frames)}, got {solved.shape}.")


def captioned_frames(film: EpisodeFilm, min_height: int = 224) -> Iterator[np.ndarray]:
    """The frames with a bar below that tells step and state: running, solved, SUCCESS or FAILURE.

    Small frames are enlarged by a whole factor until ``min_height``, so that text stays legible.
    Heights and widths are even, as H.264 wants them.
    """
    height, width = film.frames.shape[1:3]
    factor = max(1, -(-min_height // height))
    bar = max(18, height * factor // 12)
    font = ImageFont.load_default(size=bar * 0.62)
    size = (width * factor + width * factor % 2, height * factor + bar)
    size = (size[0], size[1] + size[1] % 2)
    last = len(film.frames) - 1
    for step, (frame, solved) in enumerate(zip(film.frames, film.solved, strict=True)):
        if step == last:
            text, color = ("SUCCESS", _SUCCESS) if film.success else ("FAILURE", _FAILURE)
        else:
            text, color = ("solved", _SOLVED) if solved else ("running", _RUNNING)
        canvas = Image.new("RGB", size, color)
        picture = Image.fromarray(frame)
        if factor > 1:
            picture = picture.resize((width * factor, height * factor), Image.Resampling.BICUBIC)
        canvas.paste(picture, (0, 0))
        draw = ImageDraw.Draw(canvas)
        middle = height * factor + (size[1] - height * factor) / 2
        draw.text((6, middle), film.title, font=font, fill="white", anchor="lm")
        state = f"{text}  {step:3d}"
        draw.text((size[0] - 6, middle), state, font=font, fill="white", anchor="rm")
        yield np.asarray(canvas)


MAXIMUM_GIF_FPS = 25.0
"""Viewers show a GIF's frames for at least 0.02 s or, below that, for 0.1 s."""

_HOLD_S = 0.64


def write_mp4(path: Path, films: Sequence[EpisodeFilm], fps: float) -> Path:
    """Writes episodes one after another as H.264; the last frame of each is held 0.64 s.

    Args:
        path: the file; its folder is made.
        films: at least one, all of one frame size.
        fps: frames a second: the environment's control rate.

    Raises:
        VideoError: no films, or frames of different sizes.
    """
    _check(films)
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [frame for film in films for frame in _held(film, round(_HOLD_S * fps))]
    iio.imwrite(
        path,
        np.stack(frames),
        plugin="FFMPEG",
        fps=fps,
        codec="libx264",
        # Frames are even, and must not be rescaled to multiples of 16.
        macro_block_size=2,
        output_params=["-crf", "20"],
    )
    return path


def film_spans(steps: Sequence[int], fps: float) -> list[range]:
    """Which frames of a file of :func:`write_mp4` are whose.

    Args:
        steps: that each filmed episode took, in the films' order.
        fps: of the file.

    Returns:
        The frames of each episode, with those that hold its last one.
    """
    # A film begins before the first action.
    lengths = [count + 1 + round(_HOLD_S * fps) for count in steps]
    ends = list(itertools.accumulate(lengths))
    return [range(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def write_gif(path: Path, films: Sequence[EpisodeFilm], fps: float, columns: int = 3) -> Path:
    """Writes episodes side by side as one looping GIF; short ones hold their last frame.

    Args:
        path: the file; its folder is made.
        films: at least one, all of one frame size.
        fps: of the films; above :data:`MAXIMUM_GIF_FPS` frames are left out.
        columns: episodes side by side.

    Raises:
        VideoError: no films, or frames of different sizes.
    """
    _check(films)
    path.parent.mkdir(parents=True, exist_ok=True)
    stride = max(1, math.ceil(fps / MAXIMUM_GIF_FPS))
    fps /= stride
    reels = [_thinned(list(captioned_frames(film)), stride) for film in films]
    length = max(map(len, reels)) + round(_HOLD_S * fps)
    frames = []
    for step in range(length):
        tiles = [reel[min(step, len(reel) - 1)] for reel in reels]
        frames.append(_grid(tiles, min(columns, len(tiles))))
    images = [Image.fromarray(frame) for frame in frames]
    # One palette for all frames: otherwise colors flicker and the file doubles.
    palette = _palette(images)
    quantized = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    quantized[0].save(
        path,
        save_all=True,
        append_images=quantized[1:],
        duration=round(1000 / fps),
        loop=0,
        optimize=True,
    )
    return path


def write_contact_sheet(path: Path, films: Sequence[EpisodeFilm], columns: int = 8) -> Path:
    """Writes a PNG with a row an episode: ``columns`` frames spread evenly from first to last."""
    _check(films)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for film in films:
        frames = list(captioned_frames(film, min_height=160))
        chosen = np.linspace(0, len(frames) - 1, columns).round().astype(int)
        rows.append(np.concatenate([frames[index] for index in chosen], axis=1))
    Image.fromarray(np.concatenate(rows, axis=0)).save(path, optimize=True)
    return path


def _thinned(frames: list[np.ndarray], stride: int) -> list[np.ndarray]:
    """Each ``stride``-th frame and the last one, which says how the episode ended."""
    kept = frames[::stride]
    return kept if (len(frames) - 1) % stride == 0 else [*kept, frames[-1]]


def _held(film: EpisodeFilm, hold: int) -> Iterator[np.ndarray]:
    frame = None
    for frame in captioned_frames(film):
        yield frame
    for _ in range(hold if frame is not None else 0):
        yield frame  # type: ignore[misc]


def _check(films: Sequence[EpisodeFilm]) -> None:
    if not films:
        raise VideoError("Expected at least one episode to film, got none.")
    sizes = {film.frames.shape[1:3] for film in films}
    if len(sizes) > 1:
        raise VideoError(f"Expected frames of one size, got {sorted(sizes)}.")


def _grid(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    blank = np.zeros_like(tiles[0])
    padded = [*tiles, *[blank] * (-len(tiles) % columns)]
    rows = [np.concatenate(padded[i : i + columns], 1) for i in range(0, len(padded), columns)]
    return np.concatenate(rows, axis=0)


def _palette(images: Sequence[Image.Image]) -> Image.Image:
    sample = [np.asarray(image) for image in images[:: max(1, len(images) // 6)]]
    return Image.fromarray(np.concatenate(sample, axis=0)).quantize(255)
