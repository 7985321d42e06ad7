"""Learning rates and periods as functions of the step."""

import math

import numpy as np
import pytest

from egodtm_robot.core.training.schedule import is_due, rate_share


def test_the_rate_rises_and_falls_by_the_step_alone():
    shares = [rate_share(step, 100, warmup=0.1) for step in range(100)]
    assert np.argmax(shares) == 10
    assert shares[10] == 1.0
    np.testing.assert_allclose(shares[:11], np.arange(1, 12) / 11)
    assert (np.diff(shares[10:]) < 0).all()
    assert shares[0] > 0
    assert 0 < shares[-1] < 0.01
    assert shares[55] == pytest.approx(0.5)


def test_a_constant_rate_rises_as_well():
    shares = [rate_share(step, 10, warmup=0.2, schedule="constant") for step in range(10)]
    assert shares == [1 / 3, 2 / 3, *[1.0] * 8]


def test_without_a_warmup_the_first_step_has_the_full_rate():
    assert rate_share(0, 7) == rate_share(0, 7, schedule="constant") == 1.0
    assert rate_share(3, 4) == 0.5 * (1 + math.cos(math.pi * 3 / 4))


def test_a_period_is_due_at_its_multiples_and_at_the_end():
    assert [step for step in range(1, 12) if is_due(step, 11, 4)] == [4, 8, 11]
    assert [step for step in range(1, 9) if is_due(step, 8, 4)] == [4, 8]
