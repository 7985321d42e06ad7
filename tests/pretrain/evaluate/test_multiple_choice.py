import numpy as np
import pytest

from egodtm_robot.core.statistics import wilson_interval
from pretrain.evaluate.multiple_choice import multiple_choice


def test_accuracy_equals_its_definition():
    generator = np.random.default_rng(0)
    video = generator.normal(size=(40, 6))
    choices = [generator.normal(size=(5, 6)) for _ in range(40)]
    correct = 0
    for clip, captions in zip(video, choices, strict=True):
        scores = [float(np.dot(clip, caption)) for caption in captions]
        correct += scores[0] == max(scores)
    result = multiple_choice(video, choices)
    assert result["accuracy"] == correct / 40
    assert tuple(result["wilson95"]) == wilson_interval(correct, 40)
    assert (result["questions"], result["choices"]) == (40, 5)
    assert result["chance"] == pytest.approx(0.2)


def test_texts_that_give_themselves_away_are_found_out():
    video = np.array([[1.0, 0.0, 0.2], [1.0, 0.0, -0.2]])
    # The first is nearest to whatever is seen; the second asks for the third channel's sign.
    telling = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    asking = np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    result = multiple_choice(video, [telling, asking])
    assert (result["accuracy"], result["blind"]) == (1.0, 0.5)


def test_ties_are_wrong_and_clips_without_distractors_ask_nothing():
    video = np.eye(3)
    same = np.tile(video[0], (5, 1))
    result = multiple_choice(video, [same, video[1:2], np.stack([video[2], video[0], video[1]])])
    assert (result["accuracy"], result["questions"]) == (0.5, 2)
    assert multiple_choice(video, [video[:1]] * 3) is None
