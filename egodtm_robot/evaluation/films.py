"""Gathers filmed episodes of an evaluation and writes them as MP4, GIF and contact sheet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from egodtm_robot.evaluation.film_files import (
    EpisodeFilm,
    write_contact_sheet,
    write_gif,
    write_mp4,
)
from egodtm_robot.evaluation.rollouts import EpisodeResult, FilmRequest
from envs.contract import EnvironmentDescription


class FilmCollector:
    """Films the first episodes of an evaluation.

    Args:
        environment: what is filmed; films run at its control rate.
        count: how many episodes.
    """

    def __init__(self, environment: EnvironmentDescription, count: int) -> None:
        self._task = environment.task.replace("_", " ")
        self._fps = environment.control_rate
        self._count = count
        self._numbers: dict[int, int] = {}
        self._films: dict[int, EpisodeFilm] = {}

    def request(self, seeds: Sequence[int] | np.ndarray) -> FilmRequest | None:
        """What to ask of the evaluation of these episodes; None where nothing is to be filmed."""
        if self._count == 0:
            return None
        self._numbers = {int(seed): number for number, seed in enumerate(seeds[: self._count])}
        return FilmRequest(frozenset(self._numbers), self._take)

    def _take(self, result: EpisodeResult, frames: np.ndarray, solved: np.ndarray) -> None:
        title = f"{self._task} #{self._numbers[result.seed]}"
        self._films[result.seed] = EpisodeFilm(frames, solved, result.success, title)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the films so far, in the order in which they are written."""
        return tuple(sorted(self._films))

    @property
    def films(self) -> list[EpisodeFilm]:
        """The films so far, in the order of their seeds."""
        return [self._films[seed] for seed in self.seeds]

    def write(self, folder: Path) -> list[Path]:
        """Writes ``rollouts.mp4``, ``rollouts.gif`` and ``contact_sheet.png``; nothing if empty."""
        films = self.films
        if not films:
            return []
        return [
            write_mp4(folder / "rollouts.mp4", films, self._fps),
            write_gif(folder / "rollouts.gif", films, self._fps),
            write_contact_sheet(folder / "contact_sheet.png", films),
        ]
