"""Which checkpoint is the best."""

import json
import math

from egodtm_robot.core.training.checkpoints import BestCheckpoint


def test_the_first_and_every_better_one_are_kept_as_the_best():
    best = BestCheckpoint()
    kept = [best.enter(step, score) for step, score in ((2, 0.1), (4, 0.3), (6, 0.3), (8, 0.2))]
    assert kept == [("last", "best"), ("last", "best"), ("last",), ("last",)]
    assert (best.step, best.score) == (4, 0.3)


def test_a_score_that_is_no_number_is_the_best_only_until_there_is_one():
    best = BestCheckpoint()
    assert best.enter(1, math.nan) == ("last", "best")
    assert best.enter(2, math.nan) == ("last",)
    assert best.enter(3, -5.0) == ("last", "best")
    assert best.enter(4, math.nan) == ("last",)
    assert best.step == 3


def test_a_score_of_minus_infinity_can_be_the_first():
    assert BestCheckpoint().enter(0, -math.inf) == ("last", "best")


def test_it_comes_back_from_json():
    for best in (BestCheckpoint(), BestCheckpoint(7, 0.25)):
        assert BestCheckpoint.from_json(json.loads(json.dumps(best.to_json()))) == best
