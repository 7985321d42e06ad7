import numpy as np

from egodtm_robot.core.history import advance_windows, history_windows

OFFSETS = np.array([0, 3, 5])


def test_windows_repeat_an_episodes_first_step_and_never_cross_episodes():
    expected = [[0, 0, 0], [0, 0, 1], [0, 1, 2], [3, 3, 3], [3, 3, 4]]
    np.testing.assert_array_equal(history_windows(OFFSETS, 3), expected)


def test_both_forms_give_the_same_windows():
    frames = np.random.default_rng(0).normal(size=(5, 2, 2))
    for history in (1, 2, 4):
        recorded = frames[history_windows(OFFSETS, history)]
        # The two episodes run beside one another; the shorter one ends first.
        windows = None
        for step in range(2):
            starts = np.array([step == 0] * 2)
            rows = np.array([step, 3 + step])
            windows = advance_windows(windows, frames[rows], starts, history)
            np.testing.assert_array_equal(windows, recorded[rows])


def test_a_row_that_starts_forgets_and_its_neighbor_does_not():
    before = np.arange(6).reshape(2, 3)
    after = advance_windows(before, np.array([7, 8]), np.array([True, False]), 3)
    assert after.tolist() == [[7, 7, 7], [4, 5, 8]]
    assert before.tolist() == [[0, 1, 2], [3, 4, 5]], "what was remembered is left as it was"


def test_frames_keep_their_type():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    windows = advance_windows(None, images, np.array([True, True]), 2)
    assert windows.dtype == np.uint8
    assert windows.shape == (2, 2, 4, 4, 3)
