"""Episodes of an evaluation that is under way, kept so that a kill costs only those in their midst.

A line of JSON is appended as each episode ends. An episode's outcome depends on its seed and the
policy alone, so an evaluation that goes on with the others ends with the same results.
"""

import json
import os
from dataclasses import astuple
from pathlib import Path

from egodtm_robot.evaluation.rollouts import EpisodeResult

VERSION = 1
"""The first value of every line; lines of another version do not count."""


class EpisodeLog:
    """The finished episodes of one evaluation.

    What a kill has left of a last line does not count, and is cut off before the next one.

    Args:
        path: of the file, which may hold episodes of several evaluations.
        evaluation: a short name for everything that decides an episode beside its seed: the policy,
            the encoder and the environment. Episodes of another do not count.

    Attributes:
        path: of the file.
        results: of the finished episodes, by their seeds.
    """

    def __init__(self, path: Path, evaluation: str) -> None:
        self.path = path
        self._evaluation = evaluation
        self.results: dict[int, EpisodeResult] = {}
        self._whole = 0
        if path.is_file():
            self._read(path.read_bytes())

    def add(self, result: EpisodeResult) -> None:
        """Append an episode that has ended."""
        self.results[result.seed] = result
        line = json.dumps([VERSION, self._evaluation, *astuple(result)]).encode() + b"\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.truncate(self._whole)
            file.seek(self._whole)
            file.write(line)
        self._whole += len(line)

    def _read(self, data: bytes) -> None:
        for line in data.splitlines(keepends=True):
            try:
                version, evaluation, *values = json.loads(line)
            except (ValueError, TypeError):
                return
            if not line.endswith(b"\n"):
                return  # a whole list without its end
            self._whole += len(line)
            if (version, evaluation) == (VERSION, self._evaluation):
                result = EpisodeResult(*values)
                self.results[result.seed] = result
