"""Curves as a picture."""

import numpy as np

from pretrain.evaluate.plots import curve_sheet


def blue(sheet: np.ndarray) -> int:
    """Pixels of a curve's color."""
    return int((sheet == (31, 119, 180)).all(axis=-1).sum())


def test_a_single_point_is_seen():
    assert 0 < blue(curve_sheet({"map": [(340, 0.2)]})) < 60


def test_what_is_not_finite_leaves_a_gap_and_what_is_empty_is_left_out():
    sheet = curve_sheet({"loss": [(0, 1.0), (1, float("nan")), (2, 0.5)], "none": []})
    assert sheet.shape == curve_sheet({"loss": [(0, 1.0)]}).shape
    assert blue(sheet) > 100
