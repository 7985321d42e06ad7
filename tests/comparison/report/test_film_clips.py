import base64
import io
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from egodtm_robot.comparison.arms import Condition
from egodtm_robot.comparison.reading import read_arms
from egodtm_robot.comparison.report.film_clips import FilmError, cut_film, film_number
from egodtm_robot.comparison.report.run_records import read_records

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_films import FPS, add_films, frames_of
from fake_runs import TASKS, write_run


def record_of(folder):
    (records,) = read_records(read_arms([folder])).values()
    return records[0]


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "pixels" / "seed_0"
    write_run(folder, np.array([1, 0, 1, 0], bool), 0)
    add_films(folder, 3)
    return record_of(folder)


def test_an_episode_is_cut_out_of_the_films_of_a_run(record, tmp_path):
    clip = cut_film(record, 1)
    kind, _, content = clip.mp4.partition(",")
    assert kind == "data:video/mp4;base64"
    (tmp_path / "clip.mp4").write_bytes(base64.b64decode(content))
    frames = iio.imread(tmp_path / "clip.mp4", plugin="FFMPEG")
    # Five steps, the picture before the first, and the last one held for 0.64 s.
    assert len(frames) == 5 + 1 + round(0.64 * FPS)
    gray = float(frames_of(1, 1)[0, 0, 0, 0])
    # Without the bar below the picture and the rims of compression.
    for frame in frames[[0, -1]]:
        assert np.abs(frame[20:200, 20:200].astype(float) - gray).max() < 8
    assert (clip.height, clip.width) == frames.shape[1:3]
    poster = Image.open(io.BytesIO(base64.b64decode(clip.poster.partition(",")[2])))
    assert poster.size == (clip.width, clip.height)
    assert clip.size == len(clip.mp4) + len(clip.poster)
    assert cut_film(record, 1) == clip


def test_the_number_of_a_film_is_that_of_the_row(record):
    met = Condition(TASKS[0], "varied", "default")
    assert [film_number(record, met, seed) for seed in range(4)] == [0, 1, 2, None]
    assert film_number(record, Condition(TASKS[0], "", ""), 1) == 1
    assert film_number(record, Condition(TASKS[0], "shifted", "default"), 1) is None
    assert film_number(record, met, 99) is None


def test_films_that_are_gone_broken_or_too_short_are_refused(tmp_path):
    folder = tmp_path / "pixels" / "seed_0"
    write_run(folder, np.array([1, 0], bool), 0)
    add_films(folder, 1)
    film = folder / "videos" / "rollouts.mp4"
    whole = record_of(folder)
    rows = folder / "outcomes.csv"
    # Rows of a longer episode than was filmed.
    rows.write_text(rows.read_text().replace(",4,0\n", ",40,0\n"))
    longer = record_of(folder)
    assert longer.outcomes[0].steps == 40
    with pytest.raises(FilmError, match="Expected 47 frames of film 0"):
        cut_film(longer, 0)
    film.write_bytes(film.read_bytes()[:200])
    with pytest.raises(FilmError, match="Cannot read the films in"):
        cut_film(whole, 0)
    film.unlink()
    with pytest.raises(FilmError, match="there are none"):
        cut_film(whole, 0)
