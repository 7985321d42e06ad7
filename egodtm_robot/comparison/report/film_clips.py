"""Single episodes cut out of the films of a run, small enough to stand in a page."""

import base64
import io
import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import Image

from egodtm_robot.comparison.arms import Condition
from egodtm_robot.comparison.report.run_records import RunRecord
from egodtm_robot.core.errors import EgoDTMRobotError
from egodtm_robot.evaluation.film_files import film_spans

_QUALITY = "30"
"""Of H.264, a constant rate factor: half the size of the run's own file."""

_POSTER_QUALITY = 70


class FilmError(EgoDTMRobotError, ValueError):
    """The film of an episode is not there or cannot be read."""


@dataclass(frozen=True)
class FilmClip:
    """One episode's film.

    Attributes:
        mp4: data URI of the film.
        poster: data URI of its last frame, which shows how it ended.
        width: pixels.
        height: pixels.
    """

    mp4: str
    poster: str
    width: int
    height: int

    @property
    def size(self) -> int:
        """Bytes that it takes in a page."""
        return len(self.mp4) + len(self.poster)


def film_number(record: RunRecord, condition: Condition, episode_seed: int) -> int | None:
    """The number of an episode in a run's films; None if it was not filmed, or cannot be told.

    Args:
        record: of the run.
        condition: under which it was met; an empty part stands for any.
        episode_seed: of the episode.
    """
    wanted = [
        row.film
        for row in record.outcomes
        if row.episode_seed == episode_seed
        and row.environment == condition.environment
        and condition.look in ("", row.look)
        and condition.resets in ("", row.resets)
    ]
    return wanted[0] if len(wanted) == 1 else None


def cut_film(record: RunRecord, film: int) -> FilmClip:
    """Cut one episode out of a run's films.

    Args:
        record: of the run.
        film: number of the episode in them.

    Raises:
        FilmError: the file is missing, cannot be decoded or ends too early.
    """
    steps = {row.film: row.steps for row in record.outcomes if row.film is not None}
    name = next((one for one in record.results.videos if one.endswith(".mp4")), None)
    path = record.folder / name if name is not None else None
    if path is None or not path.is_file():
        raise FilmError(
            f"Expected the films of a run in {path or record.folder}; there are none. Was its "
            "folder copied without them?"
        )
    try:
        fps = float(iio.immeta(path, plugin="FFMPEG")["fps"])
        span = film_spans([steps[number] for number in sorted(steps)], fps)[film]
        film_frames = iio.imiter(path, plugin="FFMPEG")
        frames = list(itertools.islice(film_frames, span.start, span.stop))
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise FilmError(f"Cannot read the films in {path}: {error}.") from error
    if len(frames) < len(span):
        raise FilmError(
            f"Expected {len(span)} frames of film {film} in {path}, found {len(frames)}: the file "
            "is of other episodes than the rows beside it."
        )
    height, width = frames[0].shape[:2]
    return FilmClip(_encoded(np.stack(frames), fps), _poster(frames[-1]), width, height)


def _encoded(frames: np.ndarray, fps: float) -> str:
    # The encoder writes to a place that it can go back in.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        iio.imwrite(
            path, frames, plugin="FFMPEG", fps=fps, codec="libx264", macro_block_size=2,
            output_params=["-crf", _QUALITY, "-preset", "slow", "-movflags", "+faststart"],
        )  # fmt: skip
        content = path.read_bytes()
    return f"data:video/mp4;base64,{base64.b64encode(content).decode()}"


def _poster(frame: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "WEBP", quality=_POSTER_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
