import numpy as np
import pytest

from egodtm_robot.core.intervals import wilson_interval
from pretrain.evaluate.multiple_choice import MultipleChoice


def score(video, choices, videos=None):
    return MultipleChoice().score(
        [
            {
                "item": row,
                "clip": f"clip/{row}",
                "video": f"video {row}" if videos is None else videos[row],
                "video_embedding": np.asarray(clip),
                "choices": np.asarray(captions),
            }
            for row, (clip, captions) in enumerate(zip(video, choices, strict=True))
        ]
    )


def test_accuracy_equals_its_definition():
    generator = np.random.default_rng(0)
    video = generator.normal(size=(40, 6))
    choices = [generator.normal(size=(5, 6)) for _ in range(40)]
    correct = 0
    for clip, captions in zip(video, choices, strict=True):
        scores = [float(np.dot(clip, caption)) for caption in captions]
        correct += scores[0] == max(scores)
    found = score(video, choices)
    plain = found.plain()
    assert plain["accuracy"] == found.headline.value == correct / 40
    assert tuple(plain["wilson95"]) == wilson_interval(correct, 40) == found.headline.interval
    assert (plain["questions"], plain["choices"]) == (40, 5)
    assert plain["chance"] == pytest.approx(0.2)
    assert sum(row["accuracy"] for row in found.outcomes) == correct
    for row, clip, captions in zip(found.outcomes, video, choices, strict=True):
        assert row["chosen"] == int(np.argmax(captions @ clip))


def test_questions_about_one_video_are_not_taken_for_independent():
    video = np.repeat(np.eye(2), 20, axis=0)
    choices = [np.eye(2)] * 40  # true for the first video alone, all twenty times
    found = score(video, choices, ["a"] * 20 + ["b"] * 20)
    assert found.headline.value == 0.5
    assert found.headline.interval == pytest.approx((0, 1), abs=0.01)


def test_texts_that_give_themselves_away_are_found_out():
    video = np.array([[1.0, 0.0, 0.2], [1.0, 0.0, -0.2]])
    # The first is nearest to whatever is seen; the second asks for the third channel's sign.
    telling = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    asking = np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    result = score(video, [telling, asking]).plain()
    assert (result["accuracy"], result["blind"]) == (1.0, 0.5)


def test_ties_are_wrong_and_clips_without_distractors_ask_nothing():
    video = np.eye(3)
    same = np.tile(video[0], (5, 1))
    found = score(video, [same, video[1:2], np.stack([video[2], video[0], video[1]])])
    plain = found.plain()
    assert (plain["accuracy"], plain["questions"]) == (0.5, 2)
    assert [row["item"] for row in found.outcomes] == [0, 2]
    assert found.outcomes[0]["chosen"] != 0
    assert score(video, [video[:1]] * 3) is None
