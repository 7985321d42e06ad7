"""Finding the clip of a text among many, and the text of a clip."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def retrieval(video: np.ndarray, text: np.ndarray, texts: Sequence[str]) -> dict[str, Any]:
    """Retrieval in both directions among n clips, each with its text.

    Clips with identical texts are all correct answers to that text, and for such a clip all copies
    of the text are.

    Args:
        video: float (n, J), of length 1.
        text: float (n, J), of length 1, row i being the text of clip i.
        texts: the texts themselves.

    Returns:
        ``text_to_video`` and ``video_to_text``, see :func:`ranking_scores`, and ``gallery``, n.
    """
    numbers = {one: number for number, one in enumerate(dict.fromkeys(texts))}
    labels = np.array([numbers[one] for one in texts])
    similarity = np.asarray(text, np.float64) @ np.asarray(video, np.float64).T
    return {
        "text_to_video": ranking_scores(similarity, labels, labels),
        "video_to_text": ranking_scores(similarity.T, labels, labels),
        "gallery": len(labels),
    }


def ranking_scores(
    similarity: np.ndarray, queries: np.ndarray, gallery: np.ndarray
) -> dict[str, float]:
    """How high the correct items are ranked, as means over queries.

    Among items of equal similarity the correct ones are ranked last, so that a model that finds all
    things alike gains nothing.

    Args:
        similarity: float (q, g).
        queries: int (q,), an item is correct if it has the query's label; at least one has.
        gallery: int (g,), labels of the items.

    Returns:
        ``r1`` and ``r5``, the share of queries with a correct item among the first 1 and 5;
        ``map``, mean average precision; ``chance_r1``, what ``r1`` is for a random order.
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
    return {
        "r1": float(ranked[:, 0].mean()),
        "r5": float(ranked[:, :5].any(axis=1).mean()),
        "map": float(average.mean()),
        "chance_r1": float(correct.mean()),
    }
