"""The contract of an evaluation task: what is asked of a model, and what its answers are worth.

A task measures items, such as the clips of a data set or questions about several of them, in two
steps. ``measure`` asks a model and gives a record an item; it is called for a few items at a time,
in any number of processes, and what it gave is kept when a run is killed. ``score`` turns the
records of all items into numbers with intervals, without the model.

A new task is a subclass in a module of its own and a file in ``configs/evaluation_task``, or an
import path; see docs/guide/evaluation.md.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from egodtm_robot.core.clustered_means import clustered_interval, clustered_mean
from egodtm_robot.core.errors import EgoDTMRobotError
from egodtm_robot.core.intervals import Estimate, wilson_interval
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.model import VideoTextModel

Record = dict[str, Any]
"""What a model answered to one item: numbers, texts and NumPy arrays of numbers, by name. All
records of a task have the same names; NaN stands for a number that is not known."""


class EvaluationTaskError(EgoDTMRobotError, ValueError):
    """A task gave something else than the contract says."""


class EvaluationDataError(EgoDTMRobotError, ValueError):
    """Clips, annotations or a model's answers that a task can't be scored on."""


class TooFewError(EvaluationDataError):
    """There is too little to ask: a single caption, class or scene. ``tasks=all`` goes on without.

    Args:
        needed: at least what, such as "at least two classes".
        found: what there was.
        advice: what to do about it, in sentences.
    """

    def __init__(self, needed: str, found: str, advice: str) -> None:
        super().__init__(f"Expected {needed}, got {found}. {advice}")
        self.needed = needed


@dataclass(frozen=True)
class Scores:
    """What a task found.

    Attributes:
        headline: the one number that stands for the task; the larger the better.
        numbers: all numbers with their intervals. A slash in a name groups numbers, such as
            ``text_to_video/r1``.
        facts: what the numbers rest on, such as the number of questions or what chance gives; plain
            JSON, named like numbers.
        outcomes: one row a question: numbers and texts, the same names in all rows, among them
            ``item`` and ``video``. A column with the name of a number, or of the headline, holds
            what each row adds: their mean is the number, None where a row does not count. Two
            models on the same data are compared by these rows (:mod:`pretrain.compare`).
    """

    headline: Estimate
    numbers: Mapping[str, Estimate]
    facts: Mapping[str, Any] = field(default_factory=dict)
    outcomes: Sequence[Mapping[str, Any]] = ()

    def plain(self) -> dict[str, Any]:
        """Numbers without their intervals, and facts, nested at the slashes of their names."""
        values = {name: one.value for name, one in self.numbers.items()}
        nested: dict[str, Any] = {}
        for name, value in {**values, **self.facts}.items():
            *groups, last = name.split("/")
            place = nested
            for group in groups:
                place = place.setdefault(group, {})
            place[last] = value
        return nested


class EvaluationTask(ABC):
    """Something that models are measured on.

    Attributes:
        name: what configurations, results and folders call it; a file of
            ``configs/evaluation_task`` gives its own name.
        headline: what ``Scores.headline`` is, for tables.
        curves: names of those numbers whose course over a training is worth a picture.
        version: raised when the same model would get other records.
        options: what the task was configured with. Records are kept under it; whoever builds a task
            from a configuration sets it.
    """

    name: str = ""
    headline: str = ""
    curves: tuple[str, ...] = ()
    version: int = 1
    options: Mapping[str, Any] = {}

    def lacks_of_model(self, model: VideoTextModel) -> str | None:
        """What a model lacks for this task, such as ``depth``, whatever the clips; None if nothing.

        It is asked before clips are drawn or read.
        """
        return None

    def lacks(self, model: VideoTextModel, data: EvaluationClips) -> str | None:
        """What is missing for this task, such as ``clips with depth``; None if nothing is."""
        return self.lacks_of_model(model)

    def size(self, data: EvaluationClips) -> int:
        """How many items there are; by default every clip is one."""
        return len(data)

    def prepare(self, training: EvaluationClips) -> None:
        """Look at training clips for what a guess would score; called before a training alone."""
        return None

    @abstractmethod
    def measure(
        self, model: VideoTextModel, data: EvaluationClips, items: Sequence[int]
    ) -> list[Record]:
        """Ask a model about some items.

        Args:
            model: the model, on its device.
            data: the clips; it computes each embedding once, whichever task asks for it.
            items: which of the items from 0 to ``size(data) - 1``.

        Returns:
            A record for each.
        """

    @abstractmethod
    def score(self, records: Sequence[Record]) -> Scores | None:
        """Numbers of the records of all items, in their order; None if they say nothing."""

    def picture(self, model: VideoTextModel, data: EvaluationClips) -> np.ndarray | None:
        """Examples as a picture uint8 (H, W, 3), if there is something to be seen."""
        return None


def identities(data: EvaluationClips, clips: Sequence[int]) -> list[Record]:
    """Beginnings of records of which each is about one clip: ``item``, ``clip`` and ``video``."""
    found = data.read(clips, ["source", "key"])
    return [
        {"item": int(clip), "clip": f"{source}/{key}", "video": video}
        for clip, source, key, video in zip(
            clips, found["source"], found["key"], data.videos(clips), strict=True
        )
    ]


def column(records: Sequence[Record], name: str) -> np.ndarray:
    """One field of all records as an array (n, ...)."""
    return np.stack([np.asarray(record[name]) for record in records])


def finite_column(records: Sequence[Record], name: str) -> np.ndarray:
    """The same for what a model answered, see :func:`check_finite`."""
    check_finite(records, name)
    return column(records, name)


def check_finite(records: Sequence[Record], name: str) -> None:
    """Refuse numbers of a model that are NaN or infinite.

    Raises:
        EvaluationDataError: a record's field holds such a number.
    """
    wrong = [record for record in records if not np.isfinite(record[name]).all()]
    if wrong:
        raise EvaluationDataError(
            f"Expected finite numbers from the model, got others in {name} of "
            f"{wrong[0].get('clip', wrong[0].get('sequence'))} and of {len(wrong) - 1} further "
            f"items of {len(records)}. Check the weights."
        )


def mean_estimate(
    values: np.ndarray,
    videos: Sequence[str],
    value: float | None = None,
    *,
    strata: Sequence[Hashable] | None = None,
    within: tuple[float, float] | None = (0.0, 1.0),
) -> Estimate:
    """The mean over rows, with the interval that their videos give it.

    See :mod:`egodtm_robot.core.clustered_means`; docs/results/statistics.md shows its level.

    Args:
        values: float (n,), finite, or bool.
        videos: the video of each row.
        value: the mean, where the caller has it already.
        strata: of each row, such as its class, where the number is the mean of the strata's means.
        within: what values lie between; None for errors, which nothing bounds.
    """
    mean = clustered_mean(values, videos, strata)
    spread = None if within else float(np.abs(values - mean.value).max())
    interval = clustered_interval(mean, within, spread)
    return Estimate(mean.value if value is None else value, interval)


def share_estimate(right: np.ndarray, videos: Sequence[str]) -> Estimate:
    """The share of questions that were answered rightly.

    With Wilson's interval where every question has a video of its own, else with that of
    :func:`mean_estimate`: questions about one video are not independent.

    Args:
        right: bool (n,), n at least 1.
        videos: the video of each question.
    """
    if len(set(videos)) < len(videos):
        return mean_estimate(right, videos)
    count = int(np.sum(right))
    return Estimate(count / len(right), wilson_interval(count, len(right)))
