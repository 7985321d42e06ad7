import numpy as np
import pytest

from pretrain.evaluate.retrieval import ranking_scores, retrieval


def slow_scores(similarity, queries, gallery):
    """The definitions, item by item."""
    first, five, precisions = [], [], []
    for row, query in zip(similarity, queries, strict=True):
        items = sorted(range(len(gallery)), key=lambda item: (-row[item], gallery[item] == query))
        hits = [gallery[item] == query for item in items]
        first.append(hits[0])
        five.append(any(hits[:5]))
        at_hits = [sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]
        precisions.append(sum(at_hits) / len(at_hits))
    return np.mean(first), np.mean(five), np.mean(precisions)


@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_their_definitions(seed):
    generator = np.random.default_rng(seed)
    gallery = generator.integers(0, 8, 30)
    queries = generator.choice(gallery, 20)
    # Rounded, so that there are ties.
    similarity = generator.normal(size=(20, 30)).round(1)
    scores = ranking_scores(similarity, queries, gallery)
    expected = slow_scores(similarity, queries, gallery)
    np.testing.assert_allclose([scores["r1"], scores["r5"], scores["map"]], expected)


def test_identical_texts_are_correct_in_both_directions():
    video = np.eye(4)[[0, 1, 2, 3]]
    text = np.eye(4)[[1, 0, 2, 3]]  # the first two are exchanged, but say the same
    swapped = retrieval(video, text, ["a", "a", "b", "c"])
    assert swapped["text_to_video"]["r1"] == swapped["video_to_text"]["r1"] == 1
    assert swapped["gallery"] == 4
    different = retrieval(video, text, ["a", "d", "b", "c"])
    assert different["text_to_video"]["r1"] == different["video_to_text"]["r1"] == 0.5
    assert different["text_to_video"]["chance_r1"] == 0.25
    assert swapped["text_to_video"]["chance_r1"] == 6 / 16


def test_directions_are_not_confused():
    # Both texts are nearest to clip 0; clip 1 is nearest to its own text.
    video = np.array([[1.0, 0.0], [0.6, 0.8]])
    text = np.array([[1.0, 0.0], [0.9, 0.4359]])
    scores = retrieval(video, text, ["a", "b"])
    assert scores["text_to_video"]["r1"] == 0.5 + 0.5 * float(
        text[1] @ video[1] > text[1] @ video[0]
    )
    assert scores["video_to_text"]["r1"] == 1.0


def test_a_model_that_finds_all_things_alike_gains_nothing():
    ones = np.ones((6, 3)) / np.sqrt(3)
    scores = retrieval(ones, ones, list("abcdef"))
    assert scores["text_to_video"]["r1"] == scores["text_to_video"]["r5"] == 0
    assert scores["text_to_video"]["map"] == pytest.approx(1 / 6)


def test_a_query_without_answer_is_refused():
    with pytest.raises(ValueError, match="correct item"):
        ranking_scores(np.zeros((1, 2)), np.array([5]), np.array([0, 1]))
