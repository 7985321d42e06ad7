"""Which boxes are taken for hands of the camera's wearer."""

from dataclasses import replace

import numpy as np
import pytest

from pretrain.annotate.detectors.base import Detector, FrameBoxes, complete
from pretrain.annotate.detectors.handtrack import Handtrack
from pretrain.annotate.detectors.wearer import LARGEST, NEAR, only_real_hands, reaches_border
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.clip import HAND, LEFT, NO_SIDE, RIGHT
from pretrain.clips.spans import decode_clip

SKIN, WALL = (200, 150, 120), (60, 90, 160)
HAND_BOX = (0.6, 0.5, 0.75, 0.7)
FRAMES = 4


def picture(arm: tuple[float, float, float, float] | None = (0.63, 0.6, 0.72, 1.0)) -> np.ndarray:
    """A hand on a blue wall, and its arm where one is given."""
    frame = np.full((112, 112, 3), WALL, np.uint8)
    for box in [HAND_BOX, *([arm] if arm else [])]:
        left, top, right, bottom = (int(share * 112) for share in box)
        frame[top:bottom, left:right] = SKIN
    return frame


def hands(*boxes: tuple[float, ...], arm: tuple[float, float] | None = None) -> FrameBoxes:
    return FrameBoxes(
        [HAND] * len(boxes),
        np.full(len(boxes), 0.5),
        np.array(boxes, np.float32).reshape(-1, 4),
        arm=None if arm is None else np.tile(arm, (len(boxes), 1)),
    )


def check(found: list[FrameBoxes], frame: np.ndarray) -> list[FrameBoxes]:
    return only_real_hands(found, np.stack([frame] * len(found)))


def seen(times: int, boxes: FrameBoxes) -> list[FrameBoxes]:
    return [boxes] * times + [FrameBoxes.empty()] * (FRAMES - times)


def test_a_hand_on_an_arm_from_below_that_stays_is_the_wearers():
    for boxes in check([hands(HAND_BOX)] * FRAMES, picture()):
        assert boxes.wearer is not None
        assert boxes.wearer.tolist() == [True]


@pytest.mark.parametrize(("arm", "least"), [(None, 3), ((0.0, 1.0), 2)])
def test_a_box_that_is_seen_too_seldom_is_no_hand(arm, least: int):
    for times in range(1, FRAMES + 1):
        checked = check(seen(times, hands(HAND_BOX, arm=arm)), picture())
        assert len(checked[0]) == (times >= least), times


def test_short_clips_ask_for_no_more_frames_than_they_have():
    for frames in (1, 2):
        assert len(check([hands(HAND_BOX)] * frames, picture())[0]) == 1
    assert len(check([hands(HAND_BOX), FrameBoxes.empty()], picture())[0]) == 0


def test_a_hand_may_move_as_far_as_hands_do():
    def moved(step: float) -> list[FrameBoxes]:
        boxes = [
            np.array([0.1, 0.5, 0.2, 0.6]) + step * k * np.array([1, 0, 1, 0]) for k in range(4)
        ]
        return check([hands(tuple(box)) for box in boxes], picture())

    assert [len(boxes) for boxes in moved(0.9 * NEAR)] == [1, 1, 1, 1]
    assert [len(boxes) for boxes in moved(1.1 * NEAR)] == [0, 0, 0, 0]


def test_a_box_that_is_too_large_for_a_hand_needs_joints_to_be_one():
    side = 1.1 * LARGEST**0.5
    box = (0.5, 0.5, 0.5 + side, 0.5 + side)
    assert len(check([hands(box)] * FRAMES, picture())[0]) == 0
    assert len(check([hands(box, arm=(0.0, 1.0))] * FRAMES, picture())[0]) == 1


def test_a_hand_without_an_arm_in_the_picture_stays_without_a_side():
    for arm in (None, (0.63, 0.0, 0.72, 0.6)):
        found = check([hands(HAND_BOX)] * FRAMES, picture(arm))
        detections = complete(found, None, None)
        assert detections.category == [HAND] * FRAMES
        assert detections.side.tolist() == [NO_SIDE] * FRAMES


def test_an_arm_reaches_the_border_from_below_and_from_the_lower_sides():
    box = np.array(HAND_BOX)
    assert reaches_border(picture(), box)
    assert reaches_border(picture((0.6, 0.55, 1.0, 0.65)), box)
    assert reaches_border(picture((0.0, 0.55, 0.7, 0.65)), box)
    assert not reaches_border(picture((0.63, 0.0, 0.72, 0.6)), box)
    assert not reaches_border(picture((0.63, 0.6, 0.72, 0.95)), box)


def test_hands_whose_arms_come_from_above_are_other_peoples():
    found = check([hands(HAND_BOX, arm=(0.3, -0.95))] * FRAMES, picture())
    assert complete(found, None, None).side.tolist() == [NO_SIDE] * FRAMES
    found = check([hands(HAND_BOX, arm=(0.95, -0.3))] * FRAMES, picture())
    assert complete(found, None, None).side.tolist() == [RIGHT] * FRAMES


def test_the_wrist_tells_the_side_of_a_single_hand_in_the_middle():
    for arm, side in (((-0.8, 0.6), LEFT), ((0.8, 0.6), RIGHT)):
        found = [hands((0.45, 0.5, 0.55, 0.6), arm=arm)] * FRAMES
        assert set(complete(check(found, picture()), None, None).side) == {side}


def test_things_and_hands_with_sides_are_left_as_they_are():
    things = replace(hands((0.0, 0.0, 0.9, 0.9)), category=["table"])
    sided = replace(hands((0.0, 0.0, 0.9, 0.9)), side=np.array([LEFT], np.int8))
    for boxes in (things, sided):
        assert check(seen(1, boxes), picture())[0] is boxes


def test_every_detector_that_knows_no_sides_is_checked():
    class Once(Detector):
        def detect(self, clip: AnnotatedClip) -> list[FrameBoxes]:
            return seen(1, hands(HAND_BOX))

    frames = np.stack([picture()] * FRAMES)
    clip = AnnotatedClip("k", frames, np.arange(4.0), "#C C works", "s", "made", "none")
    (result,) = Once("once", "once", 1).annotate([clip])
    assert len(result["detections"]) == 0  # type: ignore[index]


def test_players_of_a_real_match_are_no_hands_of_the_wearer(sample):
    """Bristol's clip shows a football match and no hand of its wearer."""
    pytest.importorskip("onnxruntime")
    video = sample("data/ego/ego4d_clips/bristol.mp4")
    weights = sample("models/handtrack.onnx")
    detector = Handtrack(str(weights))
    frames = decode_clip(video, 1.6, 3.2).frames
    clip = AnnotatedClip("k", frames, np.arange(4.0), "#C C plays", "s", "ego4d", "none")
    found = detector.detect(clip)
    assert sum(map(len, found)) >= 2
    assert (complete(only_real_hands(found, frames), None, None).side == NO_SIDE).all()
