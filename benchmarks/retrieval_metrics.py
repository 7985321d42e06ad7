"""Scores of multi-instance retrieval on EPIC-KITCHENS-100's own tables: time, memory, exactness.

    python benchmarks/retrieval_metrics.py FOLDER

FOLDER holds ``EPIC_100_retrieval_test.csv`` and ``EPIC_100_retrieval_test_sentence.csv``. Random
and oracle similarities of 9,668 clips and 3,842 sentences are scored, and compared with a literal
transcription of the definition, query by query, on every n-th query of both directions. Where
scikit-learn is installed, nDCG is compared with its own as well; it knows no fractional average
precision.
"""

import argparse
import importlib.util
import math
import resource
import time
from pathlib import Path

import numpy as np

from pretrain.clips.actions import Action, action_of
from pretrain.clips.sources.epic_kitchens import EpicKitchensSource
from pretrain.clips.sources.tables import read_table
from pretrain.evaluate.relevancy import Relevancy, RelevancyScores, relevancy_scores


def literal_relevancy(first: Action, second: Action) -> float:
    """Half for the verb, half for the overlap of nouns."""
    verb = 1.0 if first.verb == second.verb else 0.0
    return (verb + len(first.nouns & second.nouns) / len(first.nouns | second.nouns)) / 2


def literal_scores(similarity: np.ndarray, relevancy: list[float]) -> tuple[float, float]:
    """Average precision and nDCG of one query, as they are defined."""
    order = sorted(range(len(relevancy)), key=lambda item: -similarity[item])
    total, precisions = 0.0, []
    for rank, item in enumerate(order, start=1):
        total += relevancy[item]
        if relevancy[item] == 1:
            precisions.append(total / rank)
    counted = sum(value > 0 for value in relevancy)
    gain = sum(relevancy[item] / math.log2(i + 2) for i, item in enumerate(order[:counted]))
    best = sorted(relevancy, reverse=True)[:counted]
    return sum(precisions) / len(precisions), gain / sum(
        value / math.log2(i + 2) for i, value in enumerate(best)
    )


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=100, help="queries between compared ones")
    arguments = parser.parse_args()
    clips = {}
    source = EpicKitchensSource(str(arguments.folder / "EPIC_100_retrieval_test.csv"), "")
    for request in source.read():
        clips[request.key] = action_of(request.extra)
    table = arguments.folder / "EPIC_100_retrieval_test_sentence.csv"
    names = [row.text("narration_id") for row in read_table(table, ("narration_id",))]
    actions, sentences = list(clips.values()), [clips[name] for name in names]
    random = np.random.default_rng(0).normal(size=(len(actions), len(sentences)))
    relevancy = Relevancy(actions, sentences)

    before = _peak()
    began, used = time.perf_counter(), time.process_time()
    found = _both(random, relevancy)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    print(
        f"{len(actions)} clips, {len(sentences)} sentences: {seconds:.1f} s, {used:.1f} s of "
        f"processor time; {_peak() - before:.0f} MiB on top of {before:.0f} with the similarities"
    )
    _show("random", found)
    worst = 0.0
    queries = ((actions, sentences, random), (sentences, actions, random.T))
    for (own, gallery, similarity), one in zip(queries, found, strict=True):
        for row in range(0, len(own), arguments.every):
            wanted = [literal_relevancy(own[row], item) for item in gallery]
            precision, gain = literal_scores(similarity[row], wanted)
            worst = max(worst, abs(precision - one.average_precision[row]))
            worst = max(worst, abs(gain - one.ndcg[row]))
    print(f"largest difference from the definition: {worst:.1e}")
    if importlib.util.find_spec("sklearn") is not None:
        rows = range(0, len(actions), arguments.every)
        worst = max(_from_scikit_learn(random[r], relevancy, r, found[0].ndcg[r]) for r in rows)
        print(f"largest difference of nDCG from scikit-learn's: {worst:.1e}")
    # The oracle: relevancy itself, with noise that decides among equals.
    oracle = relevancy.rows(slice(None)) + 1e-6 * random
    _show("oracle", _both(oracle, relevancy))


def _from_scikit_learn(
    similarity: np.ndarray, relevancy: Relevancy, row: int, ndcg: float
) -> float:
    """How far the nDCG of one query is from scikit-learn's."""
    from sklearn.metrics import ndcg_score

    gains = relevancy.rows(slice(row, row + 1))
    counted = int((gains > 0).sum())
    theirs = ndcg_score(gains, similarity[None], k=counted, ignore_ties=True)
    return abs(float(theirs) - ndcg)


def _peak() -> float:
    """The most memory that this process has held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _both(similarity: np.ndarray, relevancy: Relevancy) -> tuple[RelevancyScores, RelevancyScores]:
    return (
        relevancy_scores(lambda block: similarity[block], relevancy),
        relevancy_scores(lambda block: similarity.T[block], relevancy.transposed()),
    )


def _show(name: str, found: tuple[RelevancyScores, RelevancyScores]) -> None:
    for measure in ("average_precision", "ndcg", "chance_precision", "chance_ndcg"):
        values = [100 * getattr(one, measure).mean() for one in found]
        print(
            f"{name:8}{measure:20}video to text {values[0]:7.3f}  text to video {values[1]:7.3f}"
            f"  mean {np.mean(values):7.3f}"
        )


if __name__ == "__main__":
    _main()
