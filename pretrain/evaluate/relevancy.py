"""Multi-instance retrieval: how relevant texts and clips are to each other, and what a ranking is
worth.

As EPIC-KITCHENS-100 defines it (Damen et al., IJCV 2022, arXiv 2006.13256; the definition is the
code of Wray et al., ICCV 2019, arXiv 1908.03477). Everything is computed for a block of queries at
a time, so that memory does not grow with the number of queries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from egodtm_robot.core.fingerprints import hash_parts
from pretrain.clips.actions import Action

_BLOCK = 1_000_000
"""Cells of a matrix of queries and gallery that are held at once."""


class Relevancy:
    """How relevant m items are to n queries: half of it for the verb, half for the nouns.

    The verb counts 1 if both have the same class, else 0. The nouns count the intersection over
    union of both sets of classes.

    Args:
        queries: actions of the n queries.
        gallery: actions of the m items.
    """

    def __init__(self, queries: Sequence[Action], gallery: Sequence[Action]) -> None:
        self.shape = (len(queries), len(gallery))
        self._queries, self._gallery = queries, gallery
        verbs = {name: number for number, name in enumerate(sorted({a.verb for a in queries}))}
        # Verbs of the gallery alone equal none of the queries.
        self._verbs = tuple(
            np.array([verbs.get(action.verb, -1) for action in actions])
            for actions in (queries, gallery)
        )
        query_sets, self._query_set = _distinct([action.nouns for action in queries])
        gallery_sets, self._gallery_set = _distinct([action.nouns for action in gallery])
        self._overlap = _overlap(query_sets, gallery_sets)

    def rows(self, block: slice) -> np.ndarray:
        """Relevancies float64 (k, m), 0 to 1, of the queries of a block."""
        verb = self._verbs[0][block, None] == self._verbs[1][None]
        noun = self._overlap[self._query_set[block]][:, self._gallery_set]
        relevancy: np.ndarray = (verb + noun) / 2
        return relevancy

    @property
    def fingerprint(self) -> str:
        """Of all classes: models are compared on the same relevancies alone."""
        sides = [
            [(action.verb, sorted(action.nouns)) for action in actions]
            for actions in (self._queries, self._gallery)
        ]
        return hash_parts(*sides)

    def transposed(self) -> "Relevancy":
        """With queries and gallery exchanged."""
        return Relevancy(self._gallery, self._queries)


@dataclass(frozen=True)
class RelevancyScores:
    """What rankings of a gallery for n queries are worth.

    Attributes:
        average_precision: float64 (n,).
        ndcg: float64 (n,), normalized discounted cumulative gain.
        chance_precision: float64 (n,), what a random order has in the mean, exactly.
        chance_ndcg: float64 (n,), likewise.
    """

    average_precision: np.ndarray
    ndcg: np.ndarray
    chance_precision: np.ndarray
    chance_ndcg: np.ndarray


def relevancy_scores(
    similarity: Callable[[slice], np.ndarray], relevancy: Relevancy
) -> RelevancyScores:
    """Score rankings by the official definitions, see :func:`precision_and_gain`.

    Args:
        similarity: gives float (k, m), the similarities of a block of queries to all items.
        relevancy: of the same queries and items.

    Raises:
        ValueError: no item is fully relevant to a query.
    """
    count, items = relevancy.shape
    step = max(1, _BLOCK // items)
    parts = []
    for start in range(0, count, step):
        block = slice(start, min(start + step, count))
        wanted = relevancy.rows(block)
        scores = precision_and_gain(similarity(block), wanted)
        parts.append((*scores, *chance_precision_and_gain(wanted)))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return RelevancyScores(*columns)


def precision_and_gain(
    similarity: np.ndarray, relevancy: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and normalized discounted cumulative gain of each query.

    Average precision is the mean, over the fully relevant items (relevancy 1), of the precision at
    their ranks. As in the official code, the precision at rank k is the sum of the relevancies
    above and at it, fractions included, over k. The gain is the sum of relevancy over log2(rank +
    1) over the first K ranks, where K is the number of items with any relevancy, as a share of the
    largest possible one.

    Among items of equal similarity the less relevant ones are ranked first, so that a model that
    finds all things alike gains nothing; the official code leaves their order to the sorting.

    Args:
        similarity: float (k, m).
        relevancy: float64 (k, m), 0 to 1.

    Returns:
        Two float64 (k,), 0 to 1.

    Raises:
        ValueError: no item is fully relevant to a query.
    """
    order = np.argsort(-similarity, axis=1)
    ranked = np.take_along_axis(similarity, order, axis=1)
    for row in np.flatnonzero((ranked[:, 1:] == ranked[:, :-1]).any(axis=1)):
        order[row] = np.lexsort((relevancy[row], -similarity[row]))
    found = np.take_along_axis(relevancy, order, axis=1)
    full = found == 1
    number = full.sum(axis=1)
    if not number.all():
        raise ValueError("Expected a fully relevant item in the gallery for every query.")
    ranks = np.arange(1, relevancy.shape[1] + 1)
    precision = (np.cumsum(found, axis=1) / ranks * full).sum(axis=1) / number
    discount = 1 / np.log2(ranks + 1)
    counted = ranks <= (relevancy > 0).sum(axis=1)[:, None]
    gain = (found * counted) @ discount
    return precision, gain / _ideal_gain(relevancy)


def chance_precision_and_gain(relevancy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What :func:`precision_and_gain` gives in the mean over all orders of the gallery.

    Args:
        relevancy: float64 (k, m), 0 to 1, with a 1 in every row.

    Returns:
        Two float64 (k,), 0 to 1.
    """
    items = relevancy.shape[1]
    ranks = np.arange(1, items + 1)
    total = relevancy.sum(axis=1)
    # A fully relevant item is at each rank k equally often, and each of the other items is above
    # it with probability (k - 1) / (items - 1).
    first = (1 / ranks).mean()
    precision = first + (total - 1) / max(items - 1, 1) * (1 - first)
    discount = np.cumsum(1 / np.log2(ranks + 1))
    gain = total / items * discount[(relevancy > 0).sum(axis=1) - 1]
    return precision, gain / _ideal_gain(relevancy)


def _ideal_gain(relevancy: np.ndarray) -> np.ndarray:
    best = np.sort(relevancy, axis=1)[:, ::-1]
    gain: np.ndarray = best @ (1 / np.log2(np.arange(2, relevancy.shape[1] + 2)))
    return gain


def _distinct(sets: Sequence[frozenset[str]]) -> tuple[list[frozenset[str]], np.ndarray]:
    """Each set once, and which of them every given one is."""
    numbers = {one: number for number, one in enumerate(dict.fromkeys(sets))}
    return list(numbers), np.array([numbers[one] for one in sets])


def _overlap(first: Sequence[frozenset[str]], second: Sequence[frozenset[str]]) -> np.ndarray:
    """Intersection over union float64 (u, v) of sets; 0 for two empty ones."""
    names = sorted({name for one in (*first, *second) for name in one})
    column = {name: number for number, name in enumerate(names)}
    members = []
    for sets in (first, second):
        has = np.zeros((len(sets), len(names)))
        for row, one in enumerate(sets):
            has[row, [column[name] for name in one]] = 1
        members.append(has)
    shared = members[0] @ members[1].T
    union = members[0].sum(axis=1)[:, None] + members[1].sum(axis=1)[None] - shared
    overlap: np.ndarray = shared / np.maximum(union, 1)
    return overlap
