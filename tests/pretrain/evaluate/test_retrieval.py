import numpy as np
import pytest

from pretrain.evaluate.retrieval import Retrieval, rank


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


def records(video, text, captions, videos=None):
    """As ``measure`` makes them."""
    return [
        {
            "item": row,
            "clip": f"clip/{row}",
            "video": f"video {row}" if videos is None else videos[row],
            "caption": caption,
            "video_embedding": video[row].astype(np.float32),
            "text_embedding": text[row].astype(np.float32),
        }
        for row, caption in enumerate(captions)
    ]


def retrieval(video, text, captions):
    return Retrieval().score(records(video, text, captions)).plain()


@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_their_definitions(seed):
    generator = np.random.default_rng(seed)
    gallery = generator.integers(0, 8, 30)
    queries = generator.choice(gallery, 20)
    # Rounded, so that there are ties.
    similarity = generator.normal(size=(20, 30)).round(1)
    found = rank(similarity, queries, gallery).by_query()
    expected = slow_scores(similarity, queries, gallery)
    np.testing.assert_allclose([found[name].mean() for name in ("r1", "r5", "map")], expected)


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
    assert scores["text_to_video"]["r1"] == 0.5
    assert scores["video_to_text"]["r1"] == 1.0


def test_a_model_that_finds_all_things_alike_gains_nothing():
    ones = np.ones((6, 3)) / np.sqrt(3)
    scores = retrieval(ones, ones, list("abcdef"))
    assert scores["text_to_video"]["r1"] == scores["text_to_video"]["r5"] == 0
    assert scores["text_to_video"]["map"] == pytest.approx(1 / 6)


def test_a_query_without_answer_is_refused():
    with pytest.raises(ValueError, match="correct item"):
        rank(np.zeros((1, 2)), np.array([5]), np.array([0, 1]))


def test_the_headline_is_the_mean_precision_of_both_directions_and_rows_say_where_it_comes_from():
    generator = np.random.default_rng(3)
    video, text = generator.normal(size=(2, 12, 5))
    scores = Retrieval().score(records(video, text, list("abcdefghijkl")))
    plain = scores.plain()
    maps = [plain[name]["map"] for name in ("text_to_video", "video_to_text")]
    assert scores.headline.value == np.mean(maps)
    low, high = scores.headline.interval
    assert low < scores.headline.value < high
    rows = scores.outcomes
    assert [row["item"] for row in rows] == list(range(12))
    for direction, value in zip(("text_to_video", "video_to_text"), maps, strict=True):
        assert np.mean([row[f"{direction}/map"] for row in rows]) == pytest.approx(value)
        ranks = np.array([row[f"{direction}/first_rank"] for row in rows])
        assert (ranks == 1).mean() == plain[direction]["r1"]


def test_clips_of_few_videos_have_wider_intervals_than_as_many_videos():
    generator = np.random.default_rng(0)
    base = generator.normal(size=(8, 6))
    # Ten clips a video, which are found or missed together.
    video = np.repeat(base, 10, axis=0) + 0.01 * generator.normal(size=(80, 6))
    text = np.repeat(base * np.where(np.arange(8) % 2, 1, -1)[:, None], 10, axis=0)
    captions = [str(number) for number in range(80)]
    alone = Retrieval().score(records(video, text, captions)).headline.interval
    few = [f"video {number // 10}" for number in range(80)]
    joined = Retrieval().score(records(video, text, captions, few)).headline.interval
    assert joined.high - joined.low > 2 * (alone.high - alone.low)
