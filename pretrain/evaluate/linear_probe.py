"""Recognition of actions by a linear classifier on frozen features."""

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np

from pretrain.clips.actions import action_of
from pretrain.evaluate.action_classes import label_of
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.logistic_regression import choose_penalty, fit
from pretrain.evaluate.model import PatchModel, VideoTextModel
from pretrain.evaluate.probe_task import ProbeTask
from pretrain.evaluate.recognition import accuracies, accuracies_by_clip, guessing
from pretrain.evaluate.task import EvaluationDataError, Record, Scores, TooFewError, finite_column

Features = Literal["embedding", "patches"]


class LinearProbe(ProbeTask):
    """Top-1 and mean-class accuracy of a linear classifier, see
    :mod:`pretrain.evaluate.logistic_regression`.

    Its penalty is the one with the most right answers on the validation part, never on what is
    measured; then it is fitted on all but what is measured.

    Args:
        training: see :class:`pretrain.evaluate.probe_task.ProbeTask`.
        features: ``embedding`` is the clip's in the space shared with texts; ``patches`` are the
            means of each frame's patch tokens, one frame beside the other.
    """

    name = "linear_probe"
    headline = "top1"
    curves = ("top1", "mean_class")

    def __init__(self, training: Any = None, features: Features = "embedding") -> None:
        super().__init__(training)
        if features not in ("embedding", "patches"):
            raise EvaluationDataError(f"Expected features embedding or patches, got {features!r}.")
        self.features = features

    def lacks_of_model(self, model: VideoTextModel) -> str | None:
        """Patch tokens are needed where they are asked for."""
        able = self.features == "embedding" or hasattr(model, "patch_tokens")
        return None if able else "a model with patch tokens"

    def lacks(self, model: VideoTextModel, data: EvaluationClips) -> str | None:
        """Clips with actions are needed besides."""
        (extra,) = data.read([0], ["extra"])["extra"]
        known = action_of(extra) is not None
        return self.lacks_of_model(model) or (None if known else "clips with actions")

    def observe(
        self, model: VideoTextModel, data: EvaluationClips, clips: Sequence[int]
    ) -> list[Record]:
        """The features and the class of each clip."""
        if self.features == "embedding":
            found = data.embed_videos(model, clips)
        else:
            tokens = cast(PatchModel, model).patch_tokens(data.frames(clips))
            found = tokens.float().mean(dim=(2, 3)).flatten(1).cpu().numpy()
        extras = data.read(clips, ["extra"])["extra"]
        return [
            {"label": label_of(extra), "features": row}
            for extra, row in zip(extras, found, strict=True)
        ]

    def score(self, records: Sequence[Record]) -> Scores:
        """The accuracies on what was measured.

        Raises:
            TooFewError: there are too few scenes or classes.
            EvaluationDataError: a feature is not finite.
        """
        features = finite_column(records, "features").astype(np.float64)
        names = sorted({record["label"] for record in records})
        places = {name: place for place, name in enumerate(names)}
        labels = np.array([places[record["label"]] for record in records])
        chosen = np.full(len(records), -1)
        penalties = []
        for fold in self.folds(records):
            if len(set(labels[fold.fit].tolist())) < 2:
                raise TooFewError(
                    "clips of at least two classes to fit on",
                    str(sorted({records[row]["label"] for row in fold.fit})),
                    "Name a store of more classes with training.",
                )
            penalty = choose_penalty(
                features[fold.fit],
                labels[fold.fit],
                len(names),
                (features[fold.validation], labels[fold.validation]),
            )
            both = fold.training
            classifier = fit(features[both], labels[both], len(names), penalty)
            chosen[fold.test] = classifier.scores(features[fold.test]).argmax(axis=1)
            penalties.append(penalty)
        rows = [row for row, record in enumerate(records) if not record["training"]]
        right = (chosen == labels)[rows]
        true = [records[row]["label"] for row in rows]
        numbers = accuracies(true, right, [records[row]["video"] for row in rows])
        by_clip = accuracies_by_clip(true, right)
        return Scores(
            headline=numbers[self.headline],
            numbers=numbers,
            facts={
                **guessing(true, len(names)),
                "training_clips": len(records) - len(rows),
                "folds": len(penalties),
                "penalties": penalties,
            },
            outcomes=[
                {
                    **{name: records[row][name] for name in ("item", "clip", "video", "label")},
                    "chosen": names[chosen[row]],
                    **{name: float(values[place]) for name, values in by_clip.items()},
                }
                for place, row in enumerate(rows)
            ],
        )
