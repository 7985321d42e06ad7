"""Recognition of actions without training: which class's text is nearest to a clip?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pretrain.clips.actions import action_of
from pretrain.clips.splits import paths
from pretrain.evaluate.action_classes import classes_of_clips, label_of, read_classes
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.model import VideoTextModel
from pretrain.evaluate.recognition import accuracies, accuracies_by_clip, guessing
from pretrain.evaluate.task import (
    EvaluationDataError,
    EvaluationTask,
    Record,
    Scores,
    TooFewError,
    column,
    finite_column,
    identities,
    share_estimate,
)

_TOP = 5


class ZeroShot(EvaluationTask):
    """Top-1, top-5 and mean-class accuracy of EGTEA Gaze+, EPIC-KITCHENS-100 and synthetic actions.

    A class is the mean of the embeddings of its texts in all prompts, of length 1, as Zhao et al.
    (LaViLa, CVPR 2023, arXiv 2212.04501) have it. ``mean_class`` is a mean over the classes that
    the clips have.

    Args:
        classes: published tables of all classes, see
            :func:`pretrain.evaluate.action_classes.read_classes`: ``action_idx.txt``, or
            ``EPIC_100_train.csv`` with ``EPIC_100_validation.csv``. None takes the classes that the
            clips have.
        prompts: what a text becomes for the model, with ``{}`` in its place. LaViLa's templates for
            names of classes are ``#C C {}`` and ``#C {}``.
    """

    name = "zero_shot"
    headline = "top1"
    curves = ("top1", "mean_class")

    def __init__(self, classes: Any = None, prompts: Sequence[str] = ("{}",)) -> None:
        self.classes = paths(classes)
        self.prompts = list(prompts)
        if not self.prompts:
            raise EvaluationDataError("Expected at least one prompt, such as '#C C {}', got none.")
        for prompt in self.prompts:
            if "{}" not in prompt:
                raise EvaluationDataError(
                    f"Expected prompts with {{}} in the text's place, such as '#C C {{}}', got "
                    f"{prompt!r}: it would make all classes the same."
                )
        self._named: tuple[EvaluationClips, dict[str, tuple[str, ...]]] | None = None

    def lacks_of_model(self, model: VideoTextModel) -> str | None:
        """A model that has seen texts is needed."""
        return None if hasattr(model, "encode_text") else "a model that encodes texts"

    def lacks(self, model: VideoTextModel, data: EvaluationClips) -> str | None:
        """Clips with actions are needed besides."""
        (extra,) = data.read([0], ["extra"])["extra"]
        known = action_of(extra) is not None
        return self.lacks_of_model(model) or (None if known else "clips with actions")

    def size(self, data: EvaluationClips) -> int:
        """The number of clips.

        Raises:
            AnnotationFileError: a table of classes cannot be read.
            EvaluationDataError: a clip has no class, or one that is not in the tables.
        """
        named = self._classes(data)
        if self.classes:
            for extra in data.read(range(len(data)), ["extra"])["extra"]:
                if label_of(extra) not in named:
                    raise EvaluationDataError(
                        f"Expected clips of the {len(named)} classes of "
                        f"{', '.join(map(str, self.classes))}, got one of class {label_of(extra)}."
                    )
        return len(data)

    def measure(
        self, model: VideoTextModel, data: EvaluationClips, items: Sequence[int]
    ) -> list[Record]:
        """The nearest class of each clip, and the rank of the true one."""
        named = self._classes(data)
        places = {label: place for place, label in enumerate(named)}
        labels = [label_of(extra) for extra in data.read(items, ["extra"])["extra"]]
        names = [
            [prompt.format(text) for prompt in self.prompts for text in texts]
            for texts in named.values()
        ]
        texts = data.embed_texts(model, [one for own in names for one in own]).astype(np.float64)
        ends = np.cumsum([len(own) for own in names])[:-1]
        means = np.stack([part.mean(axis=0) for part in np.split(texts, ends)])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        similarity = data.embed_videos(model, items).astype(np.float64) @ means.T
        records = []
        for identity, label, row in zip(identities(data, items), labels, similarity, strict=True):
            true = places[label]
            others = np.delete(row, true)
            records.append(
                {
                    **identity,
                    "label": label,
                    "chosen": list(named)[int(row.argmax())],
                    # Classes that are as near as the true one stand before it. NaN has no rank.
                    "rank": 1 + float((others >= row[true]).sum())
                    if np.isfinite(row).all()
                    else np.nan,
                    "classes": len(named),
                }
            )
        return records

    def score(self, records: Sequence[Record]) -> Scores:
        """The accuracies.

        Raises:
            TooFewError: there is a single class.
            EvaluationDataError: a similarity is not finite.
        """
        ranks = finite_column(records, "rank")
        labels = column(records, "label").tolist()
        videos = [record["video"] for record in records]
        classes = records[0]["classes"]
        if classes < 2:
            raise TooFewError(
                "at least two classes",
                f"{labels[0]} alone",
                "Measure on more clips with data.clips, or name all classes with classes.",
            )
        numbers = accuracies(labels, ranks == 1, videos)
        by_clip = accuracies_by_clip(labels, ranks == 1)
        if classes > _TOP:
            numbers["top5"] = share_estimate(ranks <= _TOP, videos)
            by_clip["top5"] = ranks <= _TOP
        return Scores(
            headline=numbers[self.headline],
            numbers=numbers,
            facts=guessing(labels, classes),
            outcomes=[
                {name: record[name] for name in ("item", "clip", "video", "label", "chosen")}
                | {"rank": int(record["rank"])}
                | {name: float(values[row]) for name, values in by_clip.items()}
                for row, record in enumerate(records)
            ],
        )

    def _classes(self, data: EvaluationClips) -> dict[str, tuple[str, ...]]:
        if self._named is None or self._named[0] is not data:
            if self.classes:
                named = read_classes(self.classes)
            else:
                everything = range(len(data))
                extras = data.read(everything, ["extra"])["extra"]
                named = classes_of_clips(data.texts(everything, "narration"), extras)
            self._named = (data, named)
        return self._named[1]
