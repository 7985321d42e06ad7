"""What tasks share that fit something small on frozen features."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from pretrain.clips.splits import paths
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.model import VideoTextModel
from pretrain.evaluate.scene_folds import Fold, scene_folds
from pretrain.evaluate.task import EvaluationTask, Record, identities
from pretrain.evaluate.training_clips import open_training_clips


class ProbeTask(EvaluationTask):
    """A task whose records hold features, and whose score fits something on them.

    Args:
        training: store or stores to fit on, of the data set's training split; settings are chosen
            on a fifth of its scenes. None fits on the clips that are measured, in five parts that
            share no scene: each part is measured by what the others taught.
    """

    def __init__(self, training: Any = None) -> None:
        self.training = paths(training)
        self._opened: tuple[EvaluationClips, EvaluationClips] | None = None

    @abstractmethod
    def observe(
        self, model: VideoTextModel, data: EvaluationClips, clips: Sequence[int]
    ) -> list[Record]:
        """Records of some clips of ``data``, which holds those to measure or those to fit on."""

    def size(self, data: EvaluationClips) -> int:
        """The clips to measure, and behind them those to fit on."""
        return len(data) + (len(self._training_clips(data)) if self.training else 0)

    def measure(
        self, model: VideoTextModel, data: EvaluationClips, items: Sequence[int]
    ) -> list[Record]:
        """What :meth:`observe` gives, with the place, the scene and whether it is to fit on."""
        parts: list[tuple[EvaluationClips, list[int], int, bool]] = []
        own = [int(item) for item in items if item < len(data)]
        if own:
            parts.append((data, own, 0, False))
        behind = [int(item) - len(data) for item in items if item >= len(data)]
        if behind:
            parts.append((self._training_clips(data), behind, len(data), True))
        return [
            {
                **identity,
                "item": identity["item"] + offset,
                "scene": scene,
                "training": training,
                **record,
            }
            for clips, chosen, offset, training in parts
            for identity, scene, record in zip(
                identities(clips, chosen),
                clips.read(chosen, ["scene"])["scene"],
                self.observe(model, clips, chosen),
                strict=True,
            )
        ]

    def folds(self, records: Sequence[Record]) -> list[Fold]:
        """What to fit on and what to measure; rows of the records.

        Raises:
            EvaluationDataError: there are too few scenes.
        """
        training = np.array([record["training"] for record in records])
        return list(scene_folds([record["scene"] for record in records], training))

    def _training_clips(self, data: EvaluationClips) -> EvaluationClips:
        if self._opened is None or self._opened[0] is not data:
            self._opened = (data, open_training_clips(data, self.training))
        return self._opened[1]
