"""Parts of a data set that share no scene, to fit on some and measure on others."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.evaluate.task import TooFewError

FOLDS = 5


@dataclass(frozen=True)
class Fold:
    """Which rows are for what; int64 arrays.

    Attributes:
        fit: to fit on.
        validation: to choose settings on.
        test: to measure on; no scene of these is among the others.
    """

    fit: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def training(self) -> np.ndarray:
        """All that may be fitted on once the settings are chosen."""
        return np.sort(np.concatenate([self.fit, self.validation]))


def scene_folds(scenes: Sequence[str], training: np.ndarray | None = None) -> Iterator[Fold]:
    """Folds of which each row is tested in exactly one.

    Whole scenes are dealt to five parts by the hashes of their names, the smallest part first. Each
    part is tested once, and the next one is its validation. Where some rows are given for training,
    there is one fold: it tests all others, and one of five parts of the training is its validation.

    Args:
        scenes: of every row.
        training: bool (n,), rows to fit on alone; None if there are none.

    Raises:
        TooFewError: there are too few scenes, or nothing to test.
    """
    names = np.array(scenes)
    if training is not None and training.any():
        rows = np.flatnonzero(training)
        parts = _parts(names[rows])
        if len(parts) < 2:
            raise TooFewError(
                "training clips of at least two scenes, to choose settings on one of them",
                str(sorted(set(names[rows].tolist()))),
                "Name further stores in training.",
            )
        fit, validation = np.concatenate(parts[1:]), parts[0]
        yield Fold(np.sort(rows[fit]), rows[validation], np.flatnonzero(~training))
        return
    parts = _parts(names)
    if len(parts) < 3:
        raise TooFewError(
            "clips of at least three scenes, to fit, to choose settings and to measure on",
            str(sorted(set(names.tolist()))),
            "Name a store to fit on with training.",
        )
    for number, test in enumerate(parts):
        following = (number + 1) % len(parts)
        others = [part for n, part in enumerate(parts) if n not in (number, following)]
        yield Fold(np.sort(np.concatenate(others)), parts[following], test)


def _parts(names: np.ndarray) -> list[np.ndarray]:
    """At most five parts of whole scenes, about equally large, none empty."""
    scenes, counts = np.unique(names, return_counts=True)
    order = sorted(
        range(len(scenes)), key=lambda row: hashlib.sha256(str(scenes[row]).encode()).digest()
    )
    number = min(FOLDS, len(scenes))
    sizes = np.zeros(number, int)
    part_of = {}
    for row in order:
        part = int(sizes.argmin())
        part_of[scenes[row]] = part
        sizes[part] += counts[row]
    parts = np.array([part_of[name] for name in names])
    return [np.flatnonzero(parts == part) for part in range(number)]
