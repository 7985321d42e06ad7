from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from egodtm_robot.evaluation.film_files import (
    EpisodeFilm,
    VideoError,
    captioned_frames,
    write_contact_sheet,
    write_gif,
    write_mp4,
)


def film(steps: int = 6, success: bool = True, size: int = 48) -> EpisodeFilm:
    frames = np.zeros((steps, size, size, 3), np.uint8)
    frames[..., 0] = np.linspace(0, 255, steps, dtype=np.uint8)[:, None, None]
    solved = np.arange(steps) >= steps - 2
    return EpisodeFilm(frames, solved, success, "microwave #7")


def bar_color(frame: np.ndarray) -> tuple[int, ...]:
    return tuple(int(value) for value in frame[-1, frame.shape[1] // 2])


def test_the_last_frame_tells_success_from_failure() -> None:
    won = list(captioned_frames(film(success=True)))
    lost = list(captioned_frames(film(success=False)))
    assert bar_color(won[-1])[1] > bar_color(won[-1])[0]  # green
    assert bar_color(lost[-1])[0] > bar_color(lost[-1])[1]  # red
    assert bar_color(won[0]) == bar_color(lost[0])


def test_a_solved_frame_looks_different_from_a_running_one() -> None:
    frames = list(captioned_frames(film()))
    assert bar_color(frames[0]) != bar_color(frames[-2])


def test_small_frames_are_enlarged_and_keep_their_content() -> None:
    frame = list(captioned_frames(film(size=48), min_height=224))[3]
    assert frame.shape[0] % 2 == 0
    assert frame.shape[1] % 2 == 0
    assert frame.shape[1] >= 224
    assert abs(int(frame[100, 100, 0]) - 153) <= 2


def test_an_mp4_holds_every_frame_of_every_episode(tmp_path: Path) -> None:
    path = write_mp4(tmp_path / "deep" / "films.mp4", [film(6), film(4)], fps=12.5)
    frames = iio.imread(path)
    assert len(frames) == 6 + 8 + 4 + 8
    expected = next(iter(captioned_frames(film(6)))).shape
    assert frames.shape[1:] == expected
    assert iio.immeta(path)["fps"] == pytest.approx(12.5)


def test_a_gif_shows_episodes_side_by_side_until_the_longest_ends(tmp_path: Path) -> None:
    path = write_gif(tmp_path / "films.gif", [film(6), film(3, success=False)], fps=12.5, columns=2)
    with Image.open(path) as image:
        assert image.n_frames >= 6  # equal frames at the end may be merged
        single = next(iter(captioned_frames(film(6)))).shape
        assert image.size == (2 * single[1], single[0])


def test_a_gif_of_a_fast_control_rate_leaves_frames_out_and_keeps_the_outcome(
    tmp_path: Path,
) -> None:
    path = write_gif(tmp_path / "films.gif", [film(10)], fps=80.0)
    with Image.open(path) as image:
        assert image.n_frames <= 4 + 13  # steps 0, 4, 8 and 9, and the last one held
        assert image.info["duration"] == 50
        image.seek(image.n_frames - 1)
        color = image.convert("RGB").getpixel((image.width // 2, image.height - 1))
    assert color[1] > color[0]  # green: the outcome is shown


def test_a_contact_sheet_has_a_row_an_episode(tmp_path: Path) -> None:
    path = write_contact_sheet(tmp_path / "sheet.png", [film(9), film(2)], columns=4)
    with Image.open(path) as image:
        width, height = image.size
    tile = next(iter(captioned_frames(film(9), min_height=160))).shape
    assert (height, width) == (2 * tile[0], 4 * tile[1])


def test_wrong_frames_are_refused() -> None:
    with pytest.raises(VideoError, match="uint8"):
        EpisodeFilm(np.zeros((3, 8, 8, 3), np.float32), np.zeros(3, bool), True)
    with pytest.raises(VideoError, match="one flag a frame"):
        EpisodeFilm(np.zeros((3, 8, 8, 3), np.uint8), np.zeros(2, bool), True)
    with pytest.raises(VideoError, match="at least one episode"):
        write_mp4(Path("unused.mp4"), [], fps=12.5)
