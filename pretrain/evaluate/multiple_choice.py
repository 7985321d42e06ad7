"""The true caption among captions that differ from it only in action, direction or hand.

Recognizing the object gives nothing here, so this tells whether a model has seen what happens.
"""

from collections.abc import Sequence

import numpy as np

from egodtm_robot.core.intervals import wilson_interval
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.model import VideoTextModel
from pretrain.evaluate.task import (
    EvaluationTask,
    Record,
    Scores,
    check_finite,
    finite_column,
    identities,
    share_estimate,
)


class MultipleChoice(EvaluationTask):
    """How often the true caption is nearest to its clip, strictly.

    Clips without distractors ask nothing. ``blind`` is what the captions alone give away: the
    accuracy of the mean of all clips in place of each.
    """

    name = "multiple_choice"
    headline = "accuracy"
    curves = ("accuracy",)

    def lacks_of_model(self, model: VideoTextModel) -> str | None:
        """A model that has seen texts is needed."""
        return None if hasattr(model, "encode_text") else "a model that encodes texts"

    def measure(
        self, model: VideoTextModel, data: EvaluationClips, items: Sequence[int]
    ) -> list[Record]:
        """The embeddings of clips, and of their captions with the true one first."""
        found = data.read(items, ["caption", "distractors"])
        asked = [[c, *d] for c, d in zip(found["caption"], found["distractors"], strict=True)]
        texts = data.embed_texts(model, [text for captions in asked for text in captions])
        choices = np.split(texts, np.cumsum([len(captions) for captions in asked])[:-1])
        videos = data.embed_videos(model, items)
        return [
            {**identity, "video_embedding": video, "choices": captions}
            for identity, video, captions in zip(
                identities(data, items), videos, choices, strict=True
            )
        ]

    def score(self, records: Sequence[Record]) -> Scores | None:
        """Accuracy with and without looking; None without a question.

        Raises:
            EvaluationDataError: an embedding is not finite.
        """
        check_finite(records, "choices")
        mean = np.mean(finite_column(records, "video_embedding"), axis=0, dtype=np.float64)
        asked = [record for record in records if len(record["choices"]) > 1]
        if not asked:
            return None
        nearest, blind = [], []
        for record in asked:
            clip = record["video_embedding"].astype(np.float64)
            seen, unseen = np.stack([clip, mean]) @ record["choices"].astype(np.float64).T
            nearest.append(_first_or_best_other(seen))
            blind.append(_first_or_best_other(unseen))
        videos = [record["video"] for record in asked]
        right = np.array(nearest) == 0
        accuracy = share_estimate(right, videos)
        numbers = np.array([len(record["choices"]) for record in asked])
        return Scores(
            headline=accuracy,
            numbers={
                "accuracy": accuracy,
                "blind": share_estimate(np.array(blind) == 0, videos),
            },
            facts={
                "wilson95": list(wilson_interval(int(right.sum()), len(asked))),
                "questions": len(asked),
                "choices": float(np.mean(numbers)),
                "chance": float(np.mean(1 / numbers)),
            },
            outcomes=[
                {
                    **{name: record[name] for name in ("item", "clip", "video")},
                    "chosen": chosen,
                    "accuracy": chosen == 0,
                    "blind": unseen == 0,
                }
                for record, chosen, unseen in zip(asked, nearest, blind, strict=True)
            ],
        )


def _first_or_best_other(similarity: np.ndarray) -> int:
    """0 if the first of k choices is strictly nearest, else the number of the nearest other."""
    others = similarity[1:]
    return 0 if similarity[0] > others.max() else 1 + int(others.argmax())
