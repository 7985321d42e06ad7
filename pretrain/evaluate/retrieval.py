"""Finding the clip of a text among many, and the text of a clip."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.model import VideoTextModel
from pretrain.evaluate.similarity import Similarity, similarity_fields
from pretrain.evaluate.task import (
    EvaluationTask,
    Record,
    Scores,
    TooFewError,
    finite_column,
    identities,
    mean_estimate,
)

DIRECTIONS = ("text_to_video", "video_to_text")


class Retrieval(EvaluationTask):
    """Retrieval in both directions among n clips, each with its caption.

    Clips with identical captions are all correct answers to that caption, and for such a clip all
    copies of the caption are. The headline is the mean average precision, as a mean over both
    directions. The intervals are about other queries on the same gallery.
    """

    name = "retrieval"
    headline = "mean average precision"
    curves = tuple(f"{direction}/map" for direction in DIRECTIONS)

    def lacks_of_model(self, model: VideoTextModel) -> str | None:
        """A model that has seen texts is needed."""
        return None if hasattr(model, "encode_text") else "a model that encodes texts"

    def measure(
        self, model: VideoTextModel, data: EvaluationClips, items: Sequence[int]
    ) -> list[Record]:
        """The embeddings of clips and of their captions."""
        captions = data.texts(items, "caption")
        videos = data.embed_videos(model, items)
        texts = data.embed_texts(model, captions)
        return [
            {
                **identity,
                "caption": caption,
                "video_embedding": video,
                "text_embedding": text,
                **similarity_fields(data.loader),
            }
            for identity, caption, video, text in zip(
                identities(data, items), captions, videos, texts, strict=True
            )
        ]

    def score(self, records: Sequence[Record]) -> Scores:
        """Recall at 1 and 5 and mean average precision in both directions.

        Raises:
            TooFewError: there is one caption alone.
            EvaluationDataError: an embedding is not finite.
        """
        captions = [record["caption"] for record in records]
        numbers = {one: number for number, one in enumerate(dict.fromkeys(captions))}
        if len(numbers) < 2:
            raise TooFewError(
                "at least two different captions to tell apart",
                f"{len(numbers)} of {len(records)} clips",
                "Measure on more clips with data.clips.",
            )
        labels = np.array([numbers[one] for one in captions])
        similarity = Similarity(
            finite_column(records, "video_embedding").astype(np.float64),
            finite_column(records, "text_embedding").astype(np.float64),
            records[0],
        ).of_texts(slice(None))
        rankings = {
            "text_to_video": rank(similarity, labels, labels),
            "video_to_text": rank(similarity.T, labels, labels),
        }
        videos = [record["video"] for record in records]
        queries = {direction: ranking.by_query() for direction, ranking in rankings.items()}
        estimates = {
            f"{direction}/{name}": mean_estimate(values, videos)
            for direction, by_query in queries.items()
            for name, values in by_query.items()
        }
        maps = [estimates[name].value for name in self.curves]
        precision = np.mean([one.average_precision for one in rankings.values()], axis=0)
        return Scores(
            headline=mean_estimate(precision, videos, value=float(np.mean(maps))),
            numbers=estimates,
            facts={
                **{f"{name}/chance_r1": one.chance_r1 for name, one in rankings.items()},
                "gallery": len(labels),
            },
            outcomes=[
                {
                    **{name: record[name] for name in ("item", "clip", "video", "caption")},
                    self.headline: float(precision[row]),
                    **{
                        f"{direction}/{name}": float(values[row])
                        for direction, by_query in queries.items()
                        for name, values in by_query.items()
                    },
                    **{
                        f"{direction}/first_rank": int(one.first_rank[row])
                        for direction, one in rankings.items()
                    },
                }
                for row, record in enumerate(records)
            ],
        )


@dataclass
class Ranking:
    """How high the correct items of q queries are ranked.

    Attributes:
        first_rank: int (q,), the rank of the first correct item, from 1.
        average_precision: float64 (q,).
        chance_r1: the share of queries with a correct first item in a random order.
    """

    first_rank: np.ndarray
    average_precision: np.ndarray
    chance_r1: float

    def by_query(self) -> dict[str, np.ndarray]:
        """``r1`` and ``r5``, whether a correct item is among the first 1 and 5, and ``map``."""
        return {
            "r1": self.first_rank <= 1,
            "r5": self.first_rank <= 5,
            "map": self.average_precision,
        }


def rank(similarity: np.ndarray, queries: np.ndarray, gallery: np.ndarray) -> Ranking:
    """Rank a gallery of g items for q queries.

    Among items of equal similarity the correct ones are ranked last, so that a model that finds all
    things alike gains nothing.

    Args:
        similarity: float (q, g).
        queries: int (q,), an item is correct if it has the query's label; at least one has.
        gallery: int (g,), labels of the items.

    Raises:
        ValueError: a query has no correct item.
    """
    correct = queries[:, None] == gallery[None]
    if not correct.any(axis=1).all():
        raise ValueError("Expected a correct item in the gallery for every query.")
    # The last key decides first: similarity, then wrong items before correct ones.
    order = np.lexsort((correct, -similarity), axis=1)
    ranked = np.take_along_axis(correct, order, axis=1)
    found = ranked.cumsum(axis=1)
    precision = found / np.arange(1, len(gallery) + 1)
    average = (precision * ranked).sum(axis=1) / found[:, -1]
    return Ranking(ranked.argmax(axis=1) + 1, average, float(correct.mean()))
