"""Average precision, and yes-or-no answers against the truth."""

import math

import numpy as np
import pytest

from pretrain.evaluate.detection import Counts, Found, average_precision, match

TRUTH = np.array([[0.0, 0.0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]])


def image(rows: list[tuple[int | None, float]]) -> Found:
    """Detections of the true box of a number, or beside all of them, with their scores."""
    beside = np.array([0.3, 0.0, 0.45, 0.1])
    xyxy = np.array([beside if number is None else TRUTH[number] for number, _ in rows])
    return Found(xyxy.reshape(-1, 4), np.array([score for _, score in rows]), TRUTH)


def test_what_is_found_surely_and_wholly_is_worth_one():
    assert average_precision([image([(0, 0.9), (1, 0.8)])]) == 1
    # A wrong box that is less sure than all right ones costs nothing.
    assert average_precision([image([(0, 0.9), (1, 0.8), (None, 0.1)])]) == 1


def test_wrong_boxes_before_right_ones_cost_precision():
    # Precision 1/2 at half of what is there, 2/3 at all of it: 2/3 is to be had at both.
    assert average_precision([image([(None, 0.9), (0, 0.8), (1, 0.7)])]) == pytest.approx(2 / 3)
    assert average_precision([image([(0, 0.9), (None, 0.8), (1, 0.7)])]) == pytest.approx(5 / 6)


def test_what_is_missed_costs_recall():
    assert average_precision([image([(0, 0.9)])]) == 0.5
    assert average_precision([image([])]) == 0
    assert average_precision([image([(0, 0.9)]), image([(0, 0.2), (1, 0.3)])]) == 0.75
    nothing = Found(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 4)))
    assert math.isnan(average_precision([nothing]))
    assert average_precision([nothing, image([(0, 0.9), (1, 0.8)])]) == 1


def test_a_true_box_is_claimed_once_by_the_surest():
    assert match(image([(0, 0.4), (0, 0.9), (None, 0.8)])).tolist() == [-1, 0, -1]


def test_boxes_must_overlap_enough():
    half = Found(np.array([[0.0, 0.0, 0.2, 0.1]]), np.ones(1), TRUTH)
    assert match(half, 0.5).tolist() == [0]
    assert match(half, 0.51).tolist() == [-1]


def test_answers_are_counted():
    counts = Counts()
    counts.add(np.array([True, True, False]), np.array([True, False, True]))
    counts.add(np.array([True]), np.array([True]))
    assert counts.precision == pytest.approx(2 / 3)
    assert counts.recall == pytest.approx(2 / 3)
    assert math.isnan(Counts().precision)
    assert math.isnan(Counts().recall)
