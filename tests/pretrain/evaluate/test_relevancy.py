"""Relevancy, average precision and gain against literal transcriptions of their definitions."""

import itertools
import math

import numpy as np
import pytest

from pretrain.clips.actions import Action, action_of
from pretrain.evaluate.relevancy import (
    Relevancy,
    chance_precision_and_gain,
    precision_and_gain,
    relevancy_scores,
)


def draw_actions(count: int, seed: int) -> list[Action]:
    generator = np.random.default_rng(seed)
    return [
        Action(
            str(generator.integers(4)),
            frozenset(map(str, generator.integers(0, 5, generator.integers(1, 4)))),
            "",
        )
        for _ in range(count)
    ]


def slow_relevancy(queries, gallery):
    return np.array(
        [
            [((a.verb == b.verb) + len(a.nouns & b.nouns) / len(a.nouns | b.nouns)) / 2
             for b in gallery]
            for a in queries
        ]
    )  # fmt: skip


def slow_scores(similarity, relevancy):
    """Of one query, item by item."""
    order = sorted(range(len(relevancy)), key=lambda item: (-similarity[item], relevancy[item]))
    total, precisions = 0.0, []
    for rank, item in enumerate(order, start=1):
        total += relevancy[item]
        if relevancy[item] == 1:
            precisions.append(total / rank)
    counted = int((relevancy > 0).sum())
    gain = sum(relevancy[item] / math.log2(i + 2) for i, item in enumerate(order[:counted]))
    best = sorted(relevancy, reverse=True)[:counted]
    ideal = sum(value / math.log2(i + 2) for i, value in enumerate(best))
    return np.mean(precisions), gain / ideal


@pytest.mark.parametrize("rounded", [3, 1])  # with ties and without
def test_scores_equal_their_definitions(rounded):
    gallery = draw_actions(80, 1)
    queries = [gallery[number] for number in range(0, 80, 3)]
    relevancy = Relevancy(queries, gallery)
    wanted = slow_relevancy(queries, gallery)
    np.testing.assert_array_equal(relevancy.rows(slice(None)), wanted)
    np.testing.assert_array_equal(relevancy.transposed().rows(slice(2, 9)), wanted.T[2:9])
    similarity = np.random.default_rng(2).normal(size=wanted.shape).round(rounded)
    found = relevancy_scores(lambda block: similarity[block], relevancy)
    expected = np.array([slow_scores(*pair) for pair in zip(similarity, wanted, strict=True)])
    np.testing.assert_allclose(found.average_precision, expected[:, 0], atol=1e-12)
    np.testing.assert_allclose(found.ndcg, expected[:, 1], atol=1e-12)


def test_the_queries_of_all_blocks_keep_their_order(monkeypatch):
    actions = draw_actions(30, 3)
    similarity = np.random.default_rng(4).normal(size=(30, 30))
    whole = relevancy_scores(lambda block: similarity[block], Relevancy(actions, actions))
    monkeypatch.setattr("pretrain.evaluate.relevancy._BLOCK", 30 * 7)
    parts = relevancy_scores(lambda block: similarity[block], Relevancy(actions, actions))
    np.testing.assert_array_equal(parts.average_precision, whole.average_precision)
    np.testing.assert_array_equal(parts.ndcg, whole.ndcg)


def test_chance_is_the_mean_over_all_orders():
    relevancy = np.array([1.0, 0.5, 1.0, 0.0, 0.25])
    orders = np.array(list(itertools.permutations(range(5))), float)
    precision, gain = precision_and_gain(orders, np.tile(relevancy, (len(orders), 1)))
    chance = chance_precision_and_gain(relevancy[None])
    np.testing.assert_allclose(chance, [[precision.mean()], [gain.mean()]], atol=1e-12)


def test_the_best_order_has_all_and_alike_things_gain_nothing():
    relevancy = np.array([[1.0, 0.5, 0.0, 0.0]])
    assert precision_and_gain(relevancy, relevancy) == (1.0, 1.0)
    precision, gain = precision_and_gain(np.zeros((1, 4)), relevancy)
    # The fully relevant item comes last, behind what is half relevant.
    assert precision == pytest.approx((1 + 0.5) / 4)
    assert gain == 0


def test_a_query_without_a_fully_relevant_item_is_refused():
    with pytest.raises(ValueError, match="fully relevant"):
        precision_and_gain(np.zeros((1, 2)), np.array([[0.5, 0.0]]))


def test_actions_are_read_from_what_data_sets_give():
    epic = {"verb_class": 0, "noun_class": 2, "all_noun_classes": [2, 7]}
    assert action_of(epic) == Action("0", frozenset({"2", "7"}), "0:2")
    drawn = {"action": "pour", "subject": "red mug", "other": "bowl"}
    assert action_of(drawn) == Action("pour", frozenset({"red mug", "bowl"}), "pour")
    assert action_of({"action": 3}) == Action("3", frozenset(), "3")
    assert action_of({"seed": 1}) is None
