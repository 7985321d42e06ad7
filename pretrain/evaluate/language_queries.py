"""EgoNLQ: where in a long video is the answer to a question?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.clips.sources.language_queries import LanguageQuery
from pretrain.clips.splits import paths
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.long_videos import (
    VIDEO_CLIPS,
    AnnotatedVideos,
    ConsecutiveClips,
    LongVideos,
)
from pretrain.evaluate.model import VideoTextModel
from pretrain.evaluate.scene_folds import Fold, scene_folds
from pretrain.evaluate.span_head import Question, answer, fit_span_head
from pretrain.evaluate.spans import (
    ANSWERS,
    VideoSteps,
    best_spans,
    chance_recall,
    span_overlap,
)
from pretrain.evaluate.task import (
    EvaluationDataError,
    EvaluationTask,
    Record,
    Scores,
    check_finite,
    mean_estimate,
)
from pretrain.evaluate.training_clips import open_training_clips
from pretrain.evaluate.vslnet_export import export_vslnet, write_predictions

THRESHOLDS = (0.3, 0.5)
RANKS = (1, ANSWERS)

PREDICTIONS = "predictions.json"
"""In the folder of an export: the answers, as the challenge takes them."""

RECALLS = tuple(f"r{rank}_iou{threshold}" for rank in RANKS for threshold in THRESHOLDS)

LONGEST = 256
"""Steps that a video has at most for the head; eight minutes have one every two seconds then."""


class LanguageQueries(EvaluationTask):
    """R@1 and R@5 at intersections over union of 0.3 and 0.5, with a small head on frozen features.

    ``head`` is trained (:mod:`pretrain.evaluate.span_head`). ``untrained`` answers with the windows
    that are most like the question, as long as answers of the training are in the middle. Chance
    draws such windows. As in the challenge, an overlap counts if it is larger than the threshold.

    Without ``annotations``, eight consecutive clips of the store make a video, the captions are the
    questions, and windows of a clip's length begin at every frame.

    Args:
        annotations: ``nlq_val.json``; the clips that are measured are its windows
            (``source=ego4d_windows``). Queries about clips without windows are left out and
            counted.
        training: store of the windows of the training split. None trains in five folds of whole
            videos, each answered by what the others taught.
        training_annotations: ``nlq_train.json``, with ``training``.
        export: folder to write features, queries and predictions to, as VSLNet's Ego4D baseline
            and the challenge read them; see :mod:`pretrain.evaluate.vslnet_export`. None writes
            nothing.
    """

    name = "language_queries"
    headline = "head/r1_iou0.5"

    def __init__(
        self,
        annotations: str | None = None,
        training: Any = None,
        training_annotations: str | None = None,
        export: str | None = None,
    ) -> None:
        if (training_annotations is None) != (not paths(training)):
            raise EvaluationDataError(
                "Expected training and training_annotations together, got one of them alone."
            )
        if training and annotations is None:
            raise EvaluationDataError("Expected annotations beside training, got none.")
        self.annotations = annotations
        self.training = paths(training)
        self.training_annotations = training_annotations
        self.export = None if export is None else Path(export)
        if self.export is not None and self.export.exists() and not self.export.is_dir():
            raise EvaluationDataError(
                f"Expected export to be a folder that can be made: {self.export} is a file. Choose "
                "another path."
            )
        self._prepared: tuple[EvaluationClips, list[LongVideos]] | None = None

    def lacks_of_model(self, model: VideoTextModel) -> str | None:
        """A model that has seen texts is needed."""
        return None if hasattr(model, "encode_text") else "a model that encodes texts"

    def lacks(self, model: VideoTextModel, data: EvaluationClips) -> str | None:
        """Windows of videos or enough clips are needed besides."""
        if (lack := self.lacks_of_model(model)) is not None:
            return lack
        found = data.read([0], ["caption", "extra"])
        if self.annotations is not None:
            windows = "window_s" in found["extra"][0]
            return None if windows else "windows of videos (source=ego4d_windows)"
        if "window_s" in found["extra"][0] or not found["caption"][0]:
            return "annotations, or clips with captions"
        least = 3 * VIDEO_CLIPS
        return None if len(data) >= least else f"{least} clips"

    def size(self, data: EvaluationClips) -> int:
        """The windows and queries to measure, and those to train on.

        Raises:
            AnnotationFileError: annotations cannot be read.
            EvaluationDataError: no query is about the clips.
        """
        return sum(len(part) for part in self._parts(data))

    def measure(
        self, model: VideoTextModel, data: EvaluationClips, items: Sequence[int]
    ) -> list[Record]:
        """Features of windows, and of queries with their answers."""
        records: list[Record] = []
        offset = 0
        for part in self._parts(data):
            own = [int(item) - offset for item in items if 0 <= item - offset < len(part)]
            for record, item in zip(part.observe(model, own), own, strict=True):
                records.append({"item": item + offset, **record})
            offset += len(part)
        return records

    def score(self, records: Sequence[Record]) -> Scores:
        """Recalls of the head and without it, mean overlap, and chance.

        Raises:
            EvaluationDataError: there are too few videos, or an embedding is not finite.
        """
        check_finite(records, "features")
        videos = _videos(records, LONGEST)
        asked = [record for record in records if record["kind"] == "query"]
        questions = [
            Question(videos[one["sequence"]], one["features"][0], one["answer"]) for one in asked
        ]
        training = np.array([one["training"] for one in asked])
        folds = list(scene_folds([one["video"] for one in asked], training))
        answers: dict[str, dict[int, np.ndarray]] = {"head": {}, "untrained": {}}
        chance: dict[int, list[float]] = {}
        for fold in folds:
            head = fit_span_head(
                [questions[row] for row in fold.fit], [questions[row] for row in fold.validation]
            )
            usual = _usual_length([questions[row] for row in fold.training])
            for row in fold.test.tolist():
                answers["head"][row] = answer(head, questions[row])
                answers["untrained"][row] = _most_alike(questions[row], usual)
                chance[row] = _chance(questions[row], usual)
        measured = np.flatnonzero(~training).tolist()
        if self.export is not None:
            self._write(records, asked, folds[0], [answers["head"][row] for row in measured])
        clusters = [asked[row]["video"] for row in measured]
        values: dict[str, np.ndarray] = {}
        for name, found in answers.items():
            rows = [recalls(found[row], questions[row]) for row in measured]
            values |= {
                f"{name}/{metric}": np.array([r[metric] for r in rows]) for metric in rows[0]
            }
        numbers = {name: mean_estimate(one, clusters) for name, one in values.items()}
        levels = np.mean([chance[row] for row in measured], axis=0).tolist()
        return Scores(
            headline=numbers[self.headline],
            numbers=numbers,
            facts={
                "queries": len(measured),
                "videos": len({asked[row]["sequence"] for row in measured}),
                "training_queries": int(training.sum()),
                "left_out": asked[0]["left_out"],
                **{f"chance/{name}": level for name, level in zip(RECALLS, levels, strict=True)},
            },
            outcomes=[
                {
                    **{name: asked[row][name] for name in ("item", "video", "sequence", "text")},
                    **{name: float(one[place]) for name, one in values.items()},
                }
                for place, row in enumerate(measured)
            ],
        )

    def _parts(self, data: EvaluationClips) -> list[LongVideos]:
        if self._prepared is None or self._prepared[0] is not data:
            parts: list[LongVideos] = [
                ConsecutiveClips(data)
                if self.annotations is None
                else AnnotatedVideos(data, self.annotations)
            ]
            if self.training_annotations is not None:
                clips = open_training_clips(data, self.training)
                parts.append(AnnotatedVideos(clips, self.training_annotations, training=True))
            self._prepared = (data, parts)
        return self._prepared[1]

    def _write(
        self,
        records: Sequence[Record],
        asked: Sequence[Record],
        fold: Fold,
        answers: Sequence[np.ndarray],
    ) -> None:
        assert self.export is not None
        queries = [
            LanguageQuery(
                one["sequence"],
                one["video"],
                one["annotation_uid"],
                int(one["query_idx"]),
                one["text"],
                *map(float, one["answer"]),
            )
            for one in asked
        ]
        tested = [queries[row] for row in fold.test]
        splits = {"train": [queries[row] for row in fold.training], "val": tested, "test": tested}
        export_vslnet(self.export, _videos(records), splits)
        measured = [q for q, one in zip(queries, asked, strict=True) if not one["training"]]
        write_predictions(self.export / PREDICTIONS, measured, answers)


def _videos(records: Sequence[Record], longest: int | None = None) -> dict[str, VideoSteps]:
    """The steps of every long video by its name."""
    windows: dict[str, list[Record]] = {}
    for record in records:
        if record["kind"] == "window":
            windows.setdefault(record["sequence"], []).append(record)
    return {
        name: VideoSteps.of(
            np.concatenate([one["features"] for one in own]),
            np.concatenate([one["centers"] for one in own]),
            float(own[0]["duration_s"]),
            longest,
        )
        for name, own in windows.items()
    }


def _usual_length(questions: Sequence[Question]) -> float:
    """How long an answer is in the middle, seconds."""
    return float(np.median([np.diff(question.answer) for question in questions]))


def _most_alike(question: Question, length_s: float) -> np.ndarray:
    """Windows of a length with the largest mean similarity to the question."""
    windows, first, last = question.video.windows(length_s)
    norms = np.linalg.norm(question.video.features, axis=1)
    likeness = question.video.features @ question.text / np.maximum(norms, 1e-12)
    sums = np.concatenate([[0.0], np.cumsum(likeness, dtype=np.float64)])
    return best_spans(windows, (sums[last] - sums[first]) / (last - first))


def _chance(question: Question, length_s: float) -> list[float]:
    """Of each of RECALLS, what drawing windows of a length gives."""
    overlap = span_overlap(question.video.windows(length_s)[0], question.answer)
    return [
        chance_recall(int((overlap > threshold).sum()), len(overlap), rank)
        for rank in RANKS
        for threshold in THRESHOLDS
    ]


def recalls(found: np.ndarray, question: Question) -> dict[str, float]:
    """What answers to a question are worth: each of RECALLS, and ``mean_iou`` of the first.

    Args:
        found: float (k, 2), the likeliest first.
        question: with its answer.
    """
    overlap = span_overlap(found, question.answer)
    counted = {
        f"r{rank}_iou{threshold}": float((overlap[:rank] > threshold).any())
        for rank in RANKS
        for threshold in THRESHOLDS
    }
    return {**counted, "mean_iou": float(overlap[0])}
