import math

import numpy as np
import pytest

from egodtm_robot.core.errors import ConfigurationError
from policies.base import PolicyConfig
from policies.ensembling import TemporalEnsemble


def slow(plans, decay):
    """The published algorithm: keep every plan, and average those that cover the step."""
    steps, chunk = len(plans), plans.shape[1]
    actions = []
    for step in range(steps):
        covering = [plans[made, step - made] for made in range(step + 1) if step - made < chunk]
        weights = [math.exp(-decay * i) for i in range(len(covering))]  # the oldest first
        total = sum(w * a for w, a in zip(weights, covering, strict=True))
        actions.append(total / sum(weights))
    return np.stack(actions)


def run(plans, decay, starts=None):
    """Plans (S, B, C, A) of B environments, step by step."""
    ensemble = TemporalEnsemble(plans.shape[2], decay)
    memory, actions = {}, []
    for step, made in enumerate(plans):
        begins = np.zeros(len(made), dtype=bool) if starts is None else starts[step]
        action, memory = ensemble.act(made, memory, begins)
        actions.append(action)
    return np.stack(actions)


@pytest.fixture
def plans():
    return np.random.default_rng(0).uniform(-1, 1, (9, 5, 4, 2)).astype(np.float32)


@pytest.mark.parametrize("decay", [0.01, 0.0, 1.0, -0.7])
def test_actions_are_the_weighted_mean_of_all_plans_for_the_step(plans, decay):
    actions = run(plans, decay)
    assert actions.dtype == np.float32
    for row in range(plans.shape[1]):
        np.testing.assert_allclose(actions[:, row], slow(plans[:, row], decay), atol=1e-6)


@pytest.mark.parametrize("decay", [5_000.0, -5_000.0])
def test_the_oldest_or_the_newest_plan_alone_counts_at_the_limits(plans, decay):
    actions = run(plans, decay)
    oldest = [plans[max(step - 3, 0), :, min(step, 3)] for step in range(len(plans))]
    np.testing.assert_array_equal(actions, oldest if decay > 0 else plans[:, :, 0])


def test_an_episode_that_begins_forgets_the_one_before(plans):
    starts = np.zeros(plans.shape[:2], dtype=bool)
    starts[0], starts[4, 1] = True, True
    actions = run(plans, 0.3, starts)
    np.testing.assert_array_equal(actions[4:, 1], run(plans[4:], 0.3)[:, 1])
    np.testing.assert_array_equal(actions[:, 0], run(plans, 0.3)[:, 0])


def test_a_row_is_the_same_to_the_bit_whatever_lies_beside_it(plans):
    together = run(plans, 0.3)
    for row in range(plans.shape[1]):
        np.testing.assert_array_equal(run(plans[:, row : row + 1], 0.3)[:, 0], together[:, row])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action_chunk": 4, "execute": 5}, r"policy\.execute from 1 to policy\.action_chunk = 4"),
        ({"execute": 0}, r"policy\.execute from 1"),
        ({"ensemble": math.nan}, r"finite policy\.ensemble, or null, got nan"),
        ({"action_chunk": 4, "execute": 2, "ensemble": 0.01}, r"policy\.execute=null beside"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        PolicyConfig(**options)
