"""The units of actions."""

import json

import numpy as np
import pytest

from policies.spec import ActionRange, PolicySpec


def test_limits_become_minus_one_and_one_and_come_back() -> None:
    generator = np.random.default_rng(0)
    actions = generator.normal(5, 90, (50, 3)).astype(np.float32)
    limits = ActionRange.of(actions.min(0), actions.max(0))
    normalized = limits.normalize(actions)
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized.min(0), -1, atol=1e-7)
    np.testing.assert_allclose(normalized.max(0), 1, atol=1e-7)
    assert np.abs(normalized).max() <= 1
    restored = limits.restore(normalized)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, actions, atol=1e-4)


def test_an_action_that_never_moved_keeps_its_value_and_one_beyond_the_limits_is_cut() -> None:
    limits = ActionRange((0.1, -2.0), (0.1, 2.0))
    actions = np.array([[0.1, 3.0]], np.float32)
    np.testing.assert_array_equal(limits.normalize(actions), [[0, 1]])
    restored = limits.restore(np.array([[0.7, 1]], np.float32))
    np.testing.assert_array_equal(restored, np.array([[0.1, 2]], np.float32))


@pytest.mark.parametrize(("low", "high"), [((1.0,), (0.0,)), ((float("nan"),), (1.0,))])
def test_limits_that_are_none_are_refused(low: tuple[float], high: tuple[float]) -> None:
    with pytest.raises(ValueError, match="low <= high"):
        ActionRange(low, high)


def test_a_specification_keeps_its_limits_in_json_to_the_bit() -> None:
    limits = ActionRange.of(np.array([-0.1, 1 / 3]), np.array([0.2, 0.7]))
    spec = PolicySpec(4, 2, {}, limits)
    assert PolicySpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert "action_range" not in PolicySpec(4, 2, {}).to_json()
    with pytest.raises(ValueError, match="limits of 3 actions"):
        PolicySpec(4, 3, {}, limits)
