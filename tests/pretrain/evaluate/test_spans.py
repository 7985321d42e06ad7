import itertools

import numpy as np
import pytest

from pretrain.evaluate.spans import (
    VideoSteps,
    best_spans,
    chance_recall,
    span_overlap,
)


def slow_overlap(span, answer):
    shared = max(0.0, min(span[1], answer[1]) - max(span[0], answer[0]))
    return shared / (max(span[1], answer[1]) - min(span[0], answer[0]))


def test_overlap_is_that_of_the_challenge():
    generator = np.random.default_rng(0)
    spans = np.sort(generator.uniform(0, 10, (30, 2)), axis=1)
    for answer in np.sort(generator.uniform(0, 10, (8, 2)), axis=1):
        expected = [slow_overlap(span, answer) for span in spans]
        np.testing.assert_allclose(span_overlap(spans, answer), expected)
    # Many published answers have no length: nothing overlaps with them.
    assert span_overlap(np.array([[0.0, 2.0], [1.0, 1.0]]), np.array([1.0, 1.0])).tolist() == [0, 0]


def test_answers_differ_from_each_other():
    spans = np.array([[0, 10], [0, 9], [20, 30], [1, 10], [5, 15], [40, 41]], float)
    scores = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    assert best_spans(spans, scores).tolist() == [[0, 10], [20, 30], [5, 15], [40, 41]]
    many = np.stack([np.arange(20.0), np.arange(20.0) + 1], axis=1)
    assert best_spans(many, -np.arange(20.0)).tolist() == many[:5].tolist()


def test_steps_end_halfway_between_windows_and_long_videos_are_averaged():
    features = np.arange(8, dtype=np.float32)[:, None]
    order = np.random.default_rng(0).permutation(8)
    centers = np.arange(8) + 2.0
    video = VideoSteps.of(features[order], centers[order], 11.0)
    assert video.features[:, 0].tolist() == list(range(8))
    assert video.bounds.tolist() == [0, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 11]
    short = VideoSteps.of(features[order], centers[order], 11.0, longest=3)
    assert short.bounds.tolist() == [0, 3.5, 6.5, 11]
    np.testing.assert_allclose(short.features[:, 0], [0.5, 3, 6])
    assert video.steps_of(np.array([2.5, 4.5])) == (1, 2)
    assert video.steps_of(np.array([2.6, 2.6])) == (1, 1)
    assert video.steps_of(np.array([10.0, 99.0])) == (7, 7)
    assert short.steps_of(np.array([0.0, 11.0])) == (0, 2)


def test_windows_are_about_as_long_as_wanted_and_do_not_pass_the_end():
    video = VideoSteps(np.zeros((5, 1), np.float32), np.arange(6.0))
    spans, first, last = video.windows(2.0)
    assert spans.tolist() == [[0, 2], [1, 3], [2, 4], [3, 5]]
    assert (first.tolist(), last.tolist()) == ([0, 1, 2, 3], [2, 3, 4, 5])
    assert video.windows(9.0)[0].tolist() == [[0, 5]]
    assert video.windows(0.0)[0].tolist() == [[n, n + 1] for n in range(5)]


@pytest.mark.parametrize(
    ("right", "windows", "answers"), [(2, 6, 1), (2, 6, 3), (0, 4, 5), (3, 4, 5)]
)
def test_chance_is_that_of_all_draws(right, windows, answers):
    draws = list(itertools.combinations(range(windows), min(answers, windows)))
    expected = np.mean([min(draw) < right for draw in draws])
    assert chance_recall(right, windows, answers) == pytest.approx(expected)
