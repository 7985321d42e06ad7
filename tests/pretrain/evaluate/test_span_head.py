import numpy as np
import pytest
import torch

from pretrain.evaluate.span_head import Question, SpanHead, answer, fit_span_head
from pretrain.evaluate.spans import VideoSteps, span_overlap

WIDTH = 6


def draw_questions(count: int, seed: int) -> list[Question]:
    """Videos of 20 to 30 steps of half a second; three of them in a row are like the question."""
    generator = np.random.default_rng(seed)
    questions = []
    for _ in range(count):
        length = int(generator.integers(20, 31))
        features = generator.normal(size=(length, WIDTH)).astype(np.float32)
        text = generator.normal(size=WIDTH).astype(np.float32)
        text /= np.linalg.norm(text)
        first = int(generator.integers(0, length - 3))
        features[first : first + 3] += 4 * text
        bounds = np.arange(length + 1) / 2
        span = np.array([bounds[first], bounds[first + 3]])
        questions.append(Question(VideoSteps(features, bounds), text, span))
    return questions


def recall(head: SpanHead, questions: list[Question]) -> float:
    found = [span_overlap(answer(head, one), one.answer)[0] > 0.5 for one in questions]
    return float(np.mean(found))


def test_a_head_finds_what_is_like_the_question():
    training, validation, test = draw_questions(48, 0), draw_questions(8, 1), draw_questions(30, 2)
    head = fit_span_head(training, validation, epochs=12)
    assert recall(head, test) > 0.7
    untrained = fit_span_head(training, validation, epochs=0)
    assert recall(untrained, test) < 0.3
    again = fit_span_head(training[:16], validation, epochs=2)
    other = fit_span_head(training[:16], validation, epochs=2)
    for one, two in zip(again.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_answer_is_not_looked_at_and_the_epoch_is_chosen_on_the_validation():
    questions = draw_questions(8, 3)
    head = fit_span_head(questions, questions, epochs=1)
    moved = [Question(one.video, one.text, one.answer + 1) for one in questions]
    for one, other in zip(questions, moved, strict=True):
        np.testing.assert_array_equal(answer(head, one), answer(head, other))
    # A validation that the first values are best for keeps them.
    wrong = [
        Question(one.video, one.text, np.array([0.0, one.video.bounds[-1]])) for one in questions
    ]
    start = fit_span_head(questions, questions, epochs=0)
    kept = fit_span_head(questions * 4, wrong, epochs=4)
    distance = [
        float((a - b).detach().abs().max())
        for a, b in zip(start.parameters(), kept.parameters(), strict=True)
    ]
    trained = fit_span_head(questions * 4, questions, epochs=4)
    further = [
        float((a - b).detach().abs().max())
        for a, b in zip(start.parameters(), trained.parameters(), strict=True)
    ]
    assert max(distance) < max(further)


def test_a_shorter_video_in_a_batch_is_seen_as_alone():
    torch.manual_seed(0)
    head = SpanHead(WIDTH).eval()
    steps, text = torch.randn(2, 12, WIDTH), torch.randn(2, WIDTH)
    there = torch.ones(2, 12, dtype=torch.bool)
    there[1, 7:] = False
    with torch.no_grad():
        both = head(steps, text, there)
        alone = head(steps[1:, :7], text[1:], there[1:, :7])
    np.testing.assert_allclose(both[1, :, :7], alone[0], atol=1e-5)
    assert (both[1, :, 7:] == -1e4).all()


def test_answers_are_spans_within_the_video():
    (question,) = draw_questions(1, 5)
    found = answer(SpanHead(WIDTH), question)
    assert found.shape[1] == 2
    assert 1 <= len(found) <= 5
    assert (found[:, 0] < found[:, 1]).all()
    assert found.min() >= 0
    assert found.max() <= question.video.bounds[-1]
    assert pytest.approx(found * 2) == np.round(found * 2)
