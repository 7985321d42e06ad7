"""Films of runs that nobody has trained."""

import dataclasses

import numpy as np

from egodtm_robot.evaluation.film_files import EpisodeFilm, write_mp4
from egodtm_robot.evaluation.outcomes import write_outcomes
from egodtm_robot.evaluation.results import FinishedRun

FPS = 10.0


def frames_of(number, steps, size=32):
    """A film in one gray of its own, uint8 (steps + 1, size, size, 3)."""
    return np.full((steps + 1, size, size, 3), 40 + 30 * number, np.uint8)


def mark_filmed(folder, count):
    """Say in the rows of a finished run that its first episodes were filmed; there is no film."""
    run = FinishedRun.load(folder)
    rows = [
        dataclasses.replace(row, film=number if number < count else None)
        for number, row in enumerate(run.outcomes)
    ]
    write_outcomes(folder / "outcomes.csv", rows)


def add_films(folder, count, steps=4):
    """Film the first episodes of a finished run in its folder; they then take a few steps only.

    Args:
        folder: of the run.
        count: episodes to film.
        steps: of the first one; each further film is one longer.
    """
    run = FinishedRun.load(folder)
    rows = [
        dataclasses.replace(row, film=number, steps=steps + number) if number < count else row
        for number, row in enumerate(run.outcomes)
    ]
    write_outcomes(folder / "outcomes.csv", rows)
    films = [
        EpisodeFilm(frames_of(number, row.steps), np.zeros(row.steps + 1, bool), row.success)
        for number, row in enumerate(rows[:count])
    ]
    write_mp4(folder / "videos" / "rollouts.mp4", films, FPS)
    dataclasses.replace(run.results, videos=["videos/rollouts.mp4"]).save(folder)
