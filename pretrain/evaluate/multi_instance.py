"""Multi-instance retrieval of EPIC-KITCHENS-100: many clips suit a sentence, more or less well."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pretrain.clips.actions import Action, action_of
from pretrain.clips.sources.tables import AnnotationFileError, RowError, read_table
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.model import VideoTextModel
from pretrain.evaluate.relevancy import Relevancy, RelevancyScores, relevancy_scores
from pretrain.evaluate.similarity import Similarity, similarity_fields
from pretrain.evaluate.task import (
    EvaluationDataError,
    EvaluationTask,
    Record,
    Scores,
    TooFewError,
    finite_column,
    identities,
    mean_estimate,
)

DIRECTIONS = ("video_to_text", "text_to_video")
MEASURES = ("map", "ndcg")


class MultiInstanceRetrieval(EvaluationTask):
    """Mean average precision and nDCG between clips and sentences, in both directions.

    Relevancy is that of verb and noun classes (:mod:`pretrain.evaluate.relevancy`). ``map`` and
    ``ndcg`` are means over both directions, as the challenge ranks them; chance is the exact mean
    over all orders.

    Args:
        sentences: the published table of sentences, ``EPIC_100_retrieval_test_sentence.csv``. Each
            row names the clip whose narration it is. None takes each narration of the clips once,
            with the classes of its first clip.
    """

    name = "multi_instance"
    headline = "map"
    curves = MEASURES

    def __init__(self, sentences: str | None = None) -> None:
        self.sentences = None if sentences is None else Path(sentences)

    def lacks_of_model(self, model: VideoTextModel) -> str | None:
        """A model that has seen texts is needed."""
        return None if hasattr(model, "encode_text") else "a model that encodes texts"

    def lacks(self, model: VideoTextModel, data: EvaluationClips) -> str | None:
        """Clips with classes are needed besides."""
        (extra,) = data.read([0], ["extra"])["extra"]
        action = action_of(extra)
        known = action is not None and action.nouns
        words = "clips with classes of verbs and nouns"
        return self.lacks_of_model(model) or (None if known else words)

    def size(self, data: EvaluationClips) -> int:
        """The number of clips.

        Raises:
            AnnotationFileError: the table of sentences cannot be read.
            EvaluationDataError: it is of other clips.
        """
        if self.sentences is not None:
            self._places(data.read(range(len(data)), ["key"])["key"])
        return len(data)

    def measure(
        self, model: VideoTextModel, data: EvaluationClips, items: Sequence[int]
    ) -> list[Record]:
        """The embeddings of clips and of their narrations, and their classes.

        Raises:
            EvaluationDataError: a clip has no classes.
        """
        found = data.read(items, ["key", "narration", "extra"])
        narrations = [narration.strip() for narration in found["narration"]]
        videos = data.embed_videos(model, items)
        texts = data.embed_texts(model, data.texts(items, "narration"))
        records = []
        for row, identity in enumerate(identities(data, items)):
            action = action_of(found["extra"][row])
            if action is None or not action.nouns:
                raise EvaluationDataError(
                    f"Expected classes of verb and noun with every clip, {identity['clip']} has "
                    "none. Evaluate the stores apart."
                )
            records.append(
                {
                    **identity,
                    "key": found["key"][row],
                    "narration": narrations[row],
                    "verb": action.verb,
                    "nouns": json.dumps(sorted(action.nouns)),
                    "video_embedding": videos[row],
                    "text_embedding": texts[row],
                    **similarity_fields(data.loader),
                }
            )
        return records

    def score(self, records: Sequence[Record]) -> Scores:
        """Both measures in both directions.

        Raises:
            TooFewError: there is one sentence alone.
            EvaluationDataError: an embedding is not finite, or the
                table of sentences is of other clips.
        """
        actions = [Action(r["verb"], frozenset(json.loads(r["nouns"])), "") for r in records]
        chosen = self._sentences(records)
        if len(chosen) < 2:
            raise TooFewError(
                "at least two sentences to tell apart",
                f"{len(chosen)} of {len(records)} clips",
                "Measure on more clips with data.clips.",
            )
        videos = finite_column(records, "video_embedding").astype(np.float64)
        texts = finite_column([records[row] for row in chosen], "text_embedding")
        texts = texts.astype(np.float64)
        relevancy = Relevancy(actions, [actions[row] for row in chosen])
        self._check_relevant(records, relevancy)
        similarity = Similarity(videos, texts, records[0])
        found: dict[str, RelevancyScores] = {
            "video_to_text": relevancy_scores(similarity.of_videos, relevancy),
            "text_to_video": relevancy_scores(similarity.of_texts, relevancy.transposed()),
        }
        clusters = {
            "video_to_text": [record["video"] for record in records],
            "text_to_video": [records[row]["video"] for row in chosen],
        }
        values = {
            name: {"map": one.average_precision, "ndcg": one.ndcg} for name, one in found.items()
        }
        numbers, columns = {}, {}
        for measure in MEASURES:
            both = {name: values[name][measure] for name in DIRECTIONS}
            # Weighed so that the mean over all queries is the mean of the directions' means.
            total = sum(map(len, both.values()))
            weighed = np.concatenate([one * total / (2 * len(one)) for one in both.values()])
            columns[measure] = weighed
            numbers[measure] = mean_estimate(
                np.concatenate(list(both.values())),
                [name for d in DIRECTIONS for name in clusters[d]],
                strata=[d for d in DIRECTIONS for _ in clusters[d]],
            )
            for name, one in both.items():
                numbers[f"{name}/{measure}"] = mean_estimate(one, clusters[name])
        chances = {
            name: {"map": one.chance_precision.mean(), "ndcg": one.chance_ndcg.mean()}
            for name, one in found.items()
        }
        return Scores(
            headline=numbers[self.headline],
            numbers=numbers,
            facts={
                "clips": len(records),
                "sentences": len(chosen),
                "relevancy": relevancy.fingerprint,
                **{
                    f"chance_{measure}": float(np.mean([one[measure] for one in chances.values()]))
                    for measure in MEASURES
                },
                **{
                    f"{name}/chance_{measure}": float(chances[name][measure])
                    for name in DIRECTIONS
                    for measure in MEASURES
                },
            },
            outcomes=[
                {
                    "item": item,
                    "video": clusters[name][row],
                    "direction": name,
                    "query": records[row if name == "video_to_text" else chosen[row]]["key"],
                    **{measure: float(columns[measure][item]) for measure in MEASURES},
                    **{
                        f"{direction}/{measure}": float(values[name][measure][row])
                        if direction == name
                        else None
                        for direction in DIRECTIONS
                        for measure in MEASURES
                    },
                }
                for first, (name, one) in zip((0, len(records)), found.items(), strict=True)
                for item, row in enumerate(range(len(one.ndcg)), start=first)
            ],
        )

    def _sentences(self, records: Sequence[Record]) -> list[int]:
        """Places of the clips whose narrations are the sentences."""
        if self.sentences is None:
            first: dict[str, int] = {}
            for row, record in enumerate(records):
                first.setdefault(record["narration"], row)
            return list(first.values())
        return self._places([record["key"] for record in records])

    def _places(self, keys: Sequence[str]) -> list[int]:
        """Places of the table's sentences among clips with these keys."""
        assert self.sentences is not None
        places = {key: row for row, key in enumerate(keys)}
        wanted = []
        for row in read_table(self.sentences, ("narration_id", "narration")):
            try:
                wanted.append(row.text("narration_id"))
            except RowError as error:
                raise AnnotationFileError(f"{row.place}: {error}") from error
        missing = [name for name in wanted if name not in places]
        if missing:
            raise EvaluationDataError(
                f"Expected clips with all {len(wanted)} narration_id of {self.sentences}, "
                f"{len(missing)} are missing, {missing[0]} first: clips and sentences are of "
                "different sets, or not all clips are measured (data.clips=null). Without "
                "sentences, the narrations of the clips at hand are taken."
            )
        return [places[name] for name in wanted]

    def _check_relevant(self, records: Sequence[Record], relevancy: Relevancy) -> None:
        relevant = np.zeros(relevancy.shape[0], bool)
        for start in range(0, len(relevant), 256):
            block = slice(start, start + 256)
            relevant[block] = (relevancy.rows(block) == 1).any(axis=1)
        if not relevant.all():
            row = int(np.argmin(relevant))
            raise EvaluationDataError(
                f"Expected a sentence of the same verb and nouns for every clip, "
                f"{records[row]['clip']} ({records[row]['narration']!r}) and "
                f"{int((~relevant).sum()) - 1} others have none: the sentences are of another set."
            )
