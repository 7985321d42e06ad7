"""EgoMCQ: which of five clips is narrated?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.clips.actions import action_of
from pretrain.clips.sources.egomcq import read_clip_questions
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.model import VideoTextModel
from pretrain.evaluate.relevancy import Relevancy
from pretrain.evaluate.task import (
    EvaluationDataError,
    EvaluationTask,
    Record,
    Scores,
    TooFewError,
    check_finite,
    column,
    mean_estimate,
    share_estimate,
)

CHOICES = 5
"""Clips to choose from in a question that is made here."""

KINDS = ("inter", "intra")

_SEED = 0
"""Of the questions that are made here: the same for every model."""


@dataclass(frozen=True)
class _Question:
    """A text and the places of clips; ``kind`` is one of KINDS."""

    text: str
    choices: tuple[int, ...]
    answer: int
    kind: str


class EgoMcq(EvaluationTask):
    """How often the narrated clip is nearest to its text, strictly: across videos and within one.

    Without ``questions`` they are made of the clips: a caption, its clip, and four others. Those of
    ``inter`` are drawn. Those of ``intra`` are of the same video; where that has fewer than five
    clips, as synthetic ones have, they are the clips whose action is most alike.

    Args:
        questions: the published ``egomcq.json``. Its clips are found by the keys that
            ``source=egomcq`` gives them. Questions of which a clip is missing are left out and
            counted.
    """

    name = "egomcq"
    headline = "accuracy"
    curves = KINDS

    def __init__(self, questions: str | None = None) -> None:
        self.questions = questions
        self._left_out = 0
        self._made: tuple[EvaluationClips, list[_Question]] | None = None

    def lacks_of_model(self, model: VideoTextModel) -> str | None:
        """A model that has seen texts is needed."""
        return None if hasattr(model, "encode_text") else "a model that encodes texts"

    def lacks(self, model: VideoTextModel, data: EvaluationClips) -> str | None:
        """Five clips are needed besides, where questions are made of them."""
        enough = self.questions is not None or len(data) >= CHOICES
        return self.lacks_of_model(model) or (None if enough else f"{CHOICES} clips")

    def size(self, data: EvaluationClips) -> int:
        """The number of questions.

        Raises:
            AnnotationFileError: the questions cannot be read.
            EvaluationDataError: none of them is about the clips.
        """
        return len(self._asked(data))

    def measure(
        self, model: VideoTextModel, data: EvaluationClips, items: Sequence[int]
    ) -> list[Record]:
        """The similarities of each question's text and clips."""
        asked = [self._asked(data)[item] for item in items]
        texts = data.embed_texts(model, [question.text for question in asked])
        records = []
        for item, question, text in zip(items, asked, texts, strict=True):
            clips = data.embed_videos(model, question.choices).astype(np.float64)
            records.append(
                {
                    "item": int(item),
                    "clip": data.read([question.choices[question.answer]], ["key"])["key"][0],
                    "video": data.videos([question.choices[question.answer]])[0],
                    "kind": question.kind,
                    "answer": question.answer,
                    "similarity": clips @ text.astype(np.float64),
                    "left_out": self._left_out,
                }
            )
        return records

    def score(self, records: Sequence[Record]) -> Scores:
        """The accuracy of either kind, and their mean.

        Raises:
            TooFewError: no question could be made of the clips.
            EvaluationDataError: a similarity is not finite.
        """
        if not records:
            raise TooFewError(
                f"{CHOICES} clips of different texts to make a question of",
                "none such",
                "Measure on more clips with data.clips, or name a file of questions.",
            )
        check_finite(records, "similarity")
        chosen = [_nearest(record["similarity"], record["answer"]) for record in records]
        right = np.array(chosen) == column(records, "answer")
        kind = column(records, "kind")
        videos = np.array([record["video"] for record in records])
        chance = np.array([1 / len(record["similarity"]) for record in records])
        present = [name for name in KINDS if (kind == name).any()]
        # Weighed so that the mean over all questions is the mean of both accuracies.
        weights = sum((kind == n) * len(kind) / (len(present) * (kind == n).sum()) for n in present)
        weighed = right * weights
        accuracy = mean_estimate(right, videos.tolist(), strata=kind.tolist())
        return Scores(
            headline=accuracy,
            numbers={
                "accuracy": accuracy,
                **{
                    name: share_estimate(right[kind == name], videos[kind == name].tolist())
                    for name in present
                },
            },
            facts={
                **{f"{name}_questions": int((kind == name).sum()) for name in present},
                "left_out": records[0]["left_out"],
                "chance": float((chance * weights).mean()),
            },
            outcomes=[
                {
                    **{name: record[name] for name in ("item", "video", "clip", "kind", "answer")},
                    "chosen": int(one),
                    "accuracy": float(weighed[row]),
                    **{
                        name: bool(right[row]) if record["kind"] == name else None
                        for name in present
                    },
                }
                for row, (record, one) in enumerate(zip(records, chosen, strict=True))
            ],
        )

    def _asked(self, data: EvaluationClips) -> list[_Question]:
        if self._made is None or self._made[0] is not data:
            found = _drawn(data) if self.questions is None else self._published(data)
            self._made = (data, found)
        return self._made[1]

    def _published(self, data: EvaluationClips) -> list[_Question]:
        assert self.questions is not None
        questions = read_clip_questions(self.questions)
        keys = data.read(range(len(data)), ["key"])["key"]
        places = {key: place for place, key in enumerate(keys)}
        found = [
            _Question(
                question.text,
                tuple(places[key] for key in question.choices),
                question.answer,
                "intra" if question.within_video else "inter",
            )
            for question in questions
            if all(key in places for key in question.choices)
        ]
        self._left_out = len(questions) - len(found)
        if not found:
            raise EvaluationDataError(
                f"Expected the clips of at least one question of {self.questions} among the "
                f"{len(data)} that are measured, got none; {questions[0].choices[0]} is missing, "
                "for example. Prepare them with source=egomcq, and measure all with "
                "data.clips=null."
            )
        return found


def _drawn(data: EvaluationClips) -> list[_Question]:
    """A question of either kind about every clip, as far as there are clips that say otherwise."""
    captions = np.array(data.texts(range(len(data)), "caption"))
    videos = np.array(data.videos(range(len(data))))
    actions = [action_of(e) for e in data.read(range(len(data)), ["extra"])["extra"]]
    known = [action for action in actions if action is not None]
    relevancy = Relevancy(known, known) if len(known) == len(actions) else None
    questions = []
    for kind in KINDS:
        for clip, caption in enumerate(captions.tolist()):
            generator = np.random.default_rng([_SEED, KINDS.index(kind), clip])
            others = np.flatnonzero(captions != caption)
            generator.shuffle(others)
            if kind == "intra":
                others = _alike(clip, others, videos, relevancy)
            chosen = others[: CHOICES - 1].tolist()
            if len(chosen) < CHOICES - 1:
                continue
            answer = int(generator.integers(CHOICES))
            chosen.insert(answer, clip)
            questions.append(_Question(caption, tuple(chosen), answer, kind))
    return questions


def _alike(
    clip: int, others: np.ndarray, videos: np.ndarray, relevancy: Relevancy | None
) -> np.ndarray:
    """Of other clips those of the same video, or else the most alike first; none if unknown."""
    same = others[videos[others] == videos[clip]]
    if len(same) >= CHOICES - 1 or relevancy is None:
        return same
    alike = relevancy.rows(slice(clip, clip + 1))[0, others]
    # A stable order: those that are equally alike stay in the drawn order.
    order: np.ndarray = others[np.argsort(-alike, kind="stable")]
    return order


def _nearest(similarity: np.ndarray, answer: int) -> int:
    """The nearest choice; of several equally near ones a wrong one."""
    others = np.delete(similarity, answer)
    if similarity[answer] > others.max():
        return answer
    wrong = int(others.argmax())
    return wrong + (wrong >= answer)
