"""Frames are chosen as published loaders choose them."""

import numpy as np
import pytest

from egodtm_robot.core.errors import DatasetError
from pretrain.evaluate.frame_choice import choose_frames
from pretrain.evaluate.loader import LoaderConfig


def chosen(stored: int, shown: int, key: str = "", **settings) -> list[list[int]]:
    return choose_frames(stored, shown, LoaderConfig(**settings), key).tolist()


def test_each_rule_rounds_its_segments_as_its_code_does():
    # By hand, from the published definitions. 30 frames in 4 segments of 7.5 frames:
    # middles at 3.75, 11.25, 18.75, 26.25; bounds of EgoVLP 0, 7, 15, 22, 30 (middle of the first
    # and the last frame of each); bounds of LaViLa 29/4 apart, to the even: 0, 7, 14, 22, 29.
    assert chosen(30, 4, choice="segment_middles") == [[3, 11, 18, 26]]
    assert chosen(30, 4, choice="egovlp") == [[3, 10, 18, 25]]
    assert chosen(30, 4, choice="lavila") == [[3, 10, 18, 25]]
    assert chosen(31, 4, choice="egovlp") == [[3, 10, 18, 26]]
    assert chosen(31, 4, choice="lavila") == [[4, 11, 18, 26]]


def test_as_many_frames_as_there_are_are_all_of_them_but_for_lavila():
    for choice in ("segment_middles", "egovlp", "random"):
        assert chosen(4, 4, choice=choice) == [[0, 1, 2, 3]]
    # Its segments are parts of n - 1 frames, so that few frames are shown twice.
    assert chosen(4, 4, choice="lavila") == [[0, 1, 2, 2]]


def test_random_frames_lie_in_their_segments_and_are_a_clip_s_own():
    draws = [chosen(40, 4, f"clip {number}", choice="random")[0] for number in range(60)]
    for place in range(4):
        column = {draw[place] for draw in draws}
        assert column <= set(range(10 * place, 10 * place + 10))
        assert len(column) > 5
    assert draws[3] == chosen(40, 4, "clip 3", choice="random")[0]
    assert draws[3] != chosen(40, 4, "clip 3", choice="random", seed=1)[0]


def test_neighbors_are_taken_from_the_start_from_the_middle_or_in_windows():
    assert chosen(9, 3, choice="windows") == [[0, 1, 2]]
    assert chosen(9, 3, choice="center") == [[3, 4, 5]]
    assert chosen(9, 1, choice="center") == [[4]]
    assert chosen(10, 3, choice="center", stride=2) == [[2, 4, 6]]
    windows = chosen(20, 3, choice="windows", stride=2, windows=3)
    assert windows == [[0, 2, 4], [7, 9, 11], [14, 16, 18]]


@pytest.mark.parametrize(
    ("settings", "least"),
    [({"choice": "lavila"}, 8), ({"choice": "windows", "stride": 2, "windows": 2}, 15)],
)
def test_a_clip_of_too_few_frames_is_refused_with_what_to_do(settings, least):
    with pytest.raises(DatasetError, match=rf"at least {least} stored frames.*decoding.frames"):
        choose_frames(least - 1, 8, LoaderConfig(**settings))
    assert choose_frames(least, 8, LoaderConfig(**settings)).max() < least


def test_places_ascend_and_exist_whatever_the_numbers():
    for choice in ("segment_middles", "lavila", "egovlp", "random", "windows", "center"):
        for stored in range(1, 40):
            for shown in {1, stored, (stored + 1) // 2}:
                found = choose_frames(stored, shown, LoaderConfig(choice=choice), "key")[0]
                assert len(found) == shown
                assert (np.diff(found) >= 0).all()
                assert 0 <= found[0] <= found[-1] < stored
