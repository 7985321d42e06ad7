"""Contact and sides, from boxes, masks and depth."""

import numpy as np
import pytest

from pretrain.annotate.detectors.contact import box_scores, depth_unit, mask_score, update_contact
from pretrain.annotate.detectors.hand_side import assign_sides, single_evidence
from pretrain.clips.box_geometry import intersection_over_union, overlaps, suppress
from pretrain.clips.clip import HAND, LEFT, NO_SIDE, RIGHT, Boxes


def boxes(*rows: tuple[int, str, tuple[float, float, float, float]]) -> Boxes:
    count = len(rows)
    return Boxes(
        frame=np.array([row[0] for row in rows], np.int16),
        track=np.arange(count, dtype=np.int16),
        category=[row[1] for row in rows],
        side=np.zeros(count, np.int8),
        contact=np.ones(count, bool),
        xyxy=np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
    )


HAND_BOX = (0.2, 0.2, 0.5, 0.5)
CUP_BOX = (0.4, 0.3, 0.7, 0.6)


def test_overlap_is_the_share_of_the_smaller_box():
    first = np.array([[0, 0, 0.4, 0.4], [0, 0, 0.1, 0.1]])
    second = np.array([[0.2, 0, 1, 0.4], [0.5, 0.5, 1, 1]])
    np.testing.assert_allclose(overlaps(first, second), [[0.5, 0], [0, 0]])


def test_the_surest_of_boxes_that_overlap_stays():
    xyxy = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.4], [0.5, 0.5, 1, 1], [0.3, 0.3, 0.8, 0.8]])
    np.testing.assert_allclose(intersection_over_union(xyxy[:1], xyxy[1:3]), [[0.8, 0]])
    score = np.array([0.6, 0.9, 0.3, 0.2])
    assert suppress(xyxy, score, 0.5).tolist() == [1, 2, 3]
    assert suppress(xyxy, score, 0.8).tolist() == [1, 0, 2, 3]
    assert suppress(xyxy[:0], score[:0], 0.5).tolist() == []


def test_boxes_that_overlap_touch_unless_depth_says_otherwise():
    found = boxes((0, HAND, HAND_BOX), (0, "cup", CUP_BOX), (0, "jar", (0.8, 0.8, 0.9, 0.9)))
    assert update_contact(found, None, None, None).contact.tolist() == [True, True, False]
    depth = np.full((1, 20, 20), 0.5, np.float32)
    depth[0, 6:12, 10:14] = 1.5  # the cup lies a meter behind
    assert not update_contact(found, None, depth, "metric").contact.any()
    depth[:] = np.nan  # depth that is not known speaks neither for nor against
    assert update_contact(found, None, depth, "metric").contact.tolist() == [True, True, False]
    assert found.contact.all()  # what was given stays as it was


def test_boxes_of_other_frames_do_not_touch():
    found = boxes((0, HAND, HAND_BOX), (1, "cup", CUP_BOX))
    assert not update_contact(found, None, None, None).contact.any()
    assert len(update_contact(Boxes.empty(), None, None, None)) == 0


def test_a_hand_touches_the_object_whose_box_is_most_like_its_own():
    found = boxes((0, HAND, HAND_BOX), (0, "cup", CUP_BOX), (0, "knife", (0.25, 0.25, 0.45, 0.45)))
    assert update_contact(found, None, None, None).contact.tolist() == [True, False, True]


def test_the_background_that_a_hand_borders_on_is_not_what_it_touches():
    found = boxes((0, HAND, HAND_BOX), (0, "sink", (0, 0, 1, 1)), (0, "cup", CUP_BOX))
    shown = np.full((1, 20, 20), 2, np.uint8)
    shown[0, 5:10, 4:8] = 1
    shown[0, 6:9, 8:10] = 3
    assert update_contact(found, shown, None, None).contact.tolist() == [True, False, True]


def masks(hand: slice, thing: slice) -> np.ndarray:
    found = np.zeros((1, 20, 20), np.uint8)
    found[0, 5:10, hand] = 1
    found[0, 5:10, thing] = 2
    return found


def test_masks_decide_over_boxes():
    found = boxes((0, HAND, HAND_BOX), (0, "cup", CUP_BOX))
    depth = np.full((1, 20, 20), 0.5, np.float32)
    side_by_side, apart = masks(slice(4, 8), slice(8, 12)), masks(slice(4, 8), slice(9, 12))
    assert update_contact(found, side_by_side, depth, "metric").contact.all()
    assert not update_contact(found, apart, depth, "metric").contact.any()
    behind = depth.copy()
    behind[0, :, 8:] = 0.6
    assert not update_contact(found, side_by_side, behind, "metric").contact.any()
    assert update_contact(found, side_by_side, None, None).contact.all()
    # A track without pixels falls back to its box.
    hidden = masks(slice(4, 8), slice(0, 0))
    assert update_contact(found, hidden, depth, "metric").contact.all()


def test_masks_take_depth_of_another_grid():
    found = boxes((0, HAND, HAND_BOX), (0, "cup", CUP_BOX))
    depth = np.full((1, 5, 5), 0.5, np.float32)
    depth[0, :, 2:] = 0.7
    shown = masks(slice(4, 8), slice(8, 12))
    assert not update_contact(found, shown, depth, "metric").contact.any()


def test_one_smooth_place_on_the_border_is_enough():
    hand, thing = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    hand[2:6, 2:4], thing[2:6, 4:6] = True, True
    depth = np.full((8, 8), 0.5)
    depth[:, 4:] = 0.8
    assert mask_score(hand, thing, depth) == 0
    depth[3, 4] = 0.52
    assert mask_score(hand, thing, depth) == 0.5
    assert mask_score(hand, np.roll(thing, 2, axis=1), depth) == 0


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_relative_depth_counts_by_its_range(scale: float):
    depth = np.linspace(0, scale, 100).reshape(1, 10, 10)
    unit = depth_unit(depth, "relative")
    assert unit == pytest.approx(0.96 * scale / 0.9)
    assert depth_unit(depth, "metric") == 1
    assert depth_unit(None, None) == 1
    near = box_scores(np.array([HAND_BOX]), np.array([CUP_BOX]), np.full((10, 10), 3.0))
    assert near[0, 0] > 0


# -- sides -----------------------------------------------------------------------------------


def sides(rows: list[tuple[int, float]], **options: np.ndarray) -> list[int]:
    frame = np.array([row[0] for row in rows])
    xyxy = np.array([[x - 0.05, 0.4, x + 0.05, 0.5] for _, x in rows])
    return assign_sides(frame, xyxy, np.full(len(rows), 0.9), **options).tolist()  # type: ignore[arg-type]


def test_of_two_hands_the_one_farther_left_is_the_left_one():
    assert sides([(0, 0.9), (0, 0.6)]) == [RIGHT, LEFT]
    assert sides([(0, 0.1), (0, 0.3)]) == [LEFT, RIGHT]


def test_a_single_hand_goes_by_its_place_without_depth():
    assert sides([(0, 0.2), (1, 0.8)]) == [LEFT, RIGHT]


def test_what_one_frame_shows_holds_for_the_same_hand_in_the_next():
    # Alone in frame 1 it would be a left hand; it was the right one of two just before.
    assert sides([(0, 0.1), (0, 0.5), (1, 0.45)]) == [LEFT, RIGHT, RIGHT]


@pytest.mark.parametrize(("columns", "side"), [(slice(0, 8), LEFT), (slice(12, 20), RIGHT)])
def test_a_single_hand_goes_by_its_arm(columns: slice, side: int):
    depth = np.full((1, 20, 20), 1.5, np.float32)
    depth[0, 8:10, 9:11] = 0.5
    depth[0, 10:, columns] = 0.4
    depth[0, 9:11, columns] = 0.45
    xyxy = np.array([[0.4, 0.4, 0.6, 0.52]])
    found = assign_sides(np.zeros(1, int), xyxy, np.ones(1), depth, "metric")
    assert found.tolist() == [side]
    evidence = single_evidence(xyxy[0], depth[0])
    assert (evidence > 0) == (side == RIGHT)


def test_hands_beyond_two_are_somebody_elses():
    frame = np.zeros(3, int)
    xyxy = np.array([[0.1, 0.4, 0.2, 0.5], [0.4, 0.4, 0.5, 0.5], [0.8, 0.4, 0.9, 0.5]])
    found = assign_sides(frame, xyxy, np.array([0.9, 0.5, 0.8]))
    assert found.tolist() == [LEFT, NO_SIDE, RIGHT]
    assert assign_sides(np.zeros(0, int), np.zeros((0, 4)), np.zeros(0)).tolist() == []
