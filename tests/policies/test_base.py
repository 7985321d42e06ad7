"""What the base class adds to a plan: memory, chunks, limits and random numbers."""

import numpy as np
import pytest
import torch

from egodtm_robot.core.errors import ConfigurationError, PolicyOptionError
from policies.base import INFERENCE_BATCH, Policy, PolicyConfig, action_error
from policies.spec import FeatureShape, PolicySpec

SPEC = PolicySpec(1, 2, {"left": FeatureShape(4, 3, (2, 2))})


class Echo(Policy):
    """Plans what it sees; remembers the shapes and counts the rows that it was asked to plan."""

    kind = "echo"

    def __init__(self, config, spec=SPEC):
        super().__init__(config, spec)
        self.seen = []

    def loss(self, batch, generator=None):
        raise NotImplementedError

    def plan(self, observation, generator=None):
        self.seen.append({name: tuple(tensor.shape) for name, tensor in observation.items()})
        steps = torch.arange(self.chunk) * 0.1
        return (observation["proprioception"][:, -1, None] + steps[:, None]).expand(-1, -1, 2)


class Sampler(Echo):
    kind = "sampler"
    samples = True

    def plan(self, observation, generator=None):
        return generator.normal(self.chunk, 2) * 0.1


def observe(values):
    values = np.asarray(values, np.float32)
    return {
        "proprioception": values[:, None],
        "features/left": np.tile(values[:, None, None], (1, 4, 3)),
    }


def test_tokens_reach_a_plan_unflattened():
    policy = Echo(PolicyConfig(history=3))
    policy.predict(observe([0.1, 0.2]))
    assert policy.seen[0]["features/left"] == (INFERENCE_BATCH, 3, 4, 3)
    assert policy.seen[0]["proprioception"] == (INFERENCE_BATCH, 3, 1)


def test_nothing_is_planned_while_a_chunk_is_executed():
    policy = Echo(PolicyConfig(action_chunk=3))
    state, actions = None, []
    for value in (0.0, 0.5, 0.5, 0.5):
        action, state = policy.predict(observe([value]), state)
        actions.append(action[0, 0])
    np.testing.assert_allclose(actions, [0.0, 0.1, 0.2, 0.5], atol=1e-6)
    assert len(policy.seen) == 2


def test_the_state_that_was_given_is_left_as_it_was():
    policy = Echo(PolicyConfig(history=2, action_chunk=2))
    _, state = policy.predict(observe([0.1]))
    before = {name: array.copy() for name, array in state.items()}
    policy.predict(observe([0.2]), state)
    for name, array in before.items():
        np.testing.assert_array_equal(state[name], array)


def test_a_policy_may_execute_its_plans_otherwise():
    class Averaging(Echo):
        """Plans at every step and averages with the plan before."""

        kind = "averaging"

        def plan_is_due(self, memory, starts):
            return np.ones(len(starts), dtype=bool)

        def execute(self, plans, due, memory, starts):
            before = memory.get("before", plans)
            return (plans[:, 0] + before[:, 0]) / 2, {"before": plans}

    policy = Averaging(PolicyConfig())
    _, state = policy.predict(observe([0.2]))
    action, _ = policy.predict(observe([0.6]), state)
    np.testing.assert_allclose(action, [[0.4, 0.4]], atol=1e-6)


def test_a_plan_of_the_wrong_shape_is_refused():
    class Flat(Echo):
        kind = "flat"

        def plan(self, observation, generator=None):
            return observation["proprioception"][:, -1]

    with pytest.raises(PolicyOptionError, match=r"Flat\.plan.*\(16, 1, 2\).*got \(16, 1\)"):
        Flat(PolicyConfig()).predict(observe([0.1]))


def sample(policy, rows, deterministic, steps=3):
    state, actions = None, []
    for step in range(steps):
        observation = observe([0.1 * row + 0.01 * step for row in rows])
        action, state = policy.predict(observation, state, deterministic=deterministic)
        actions.append(action)
    return np.stack(actions), state


def test_what_is_sampled_for_a_row_depends_on_that_row_alone():
    policy = Sampler(PolicyConfig())
    together, _ = sample(policy, range(20), deterministic=False)
    alone, _ = sample(policy, [13], deterministic=False)
    np.testing.assert_array_equal(alone[:, 0], together[:, 13])
    assert len(np.unique(together[0, :, 0])) == 20, "each episode has numbers of its own"
    assert len(np.unique(together[:, 0, 0])) == 3, "and each plan of it"


def test_deterministic_plans_draw_the_same_numbers_every_time():
    policy = Sampler(PolicyConfig())
    actions, state = sample(policy, range(3), deterministic=True)
    assert len(np.unique(actions.reshape(-1, 2), axis=0)) == 1
    assert state is None


def test_sampling_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    sample(Sampler(PolicyConfig(action_chunk=2)), range(2), deterministic=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_errors_past_an_episodes_end_do_not_count():
    wanted = torch.zeros(2, 3, 1)
    predicted = torch.tensor([[1.0, 1.0, 9.0], [3.0, 9.0, 9.0]])[..., None]
    valid = torch.tensor([[True, True, False], [True, False, False]])
    assert float(action_error(predicted, wanted, valid)) == pytest.approx((1 + 1 + 9) / 3)


def test_later_actions_of_a_chunk_weigh_less_by_the_discount():
    wanted = torch.zeros(2, 3, 1)
    predicted = torch.tensor([[1.0, 2.0, 4.0], [8.0, 9.0, 9.0]])[..., None]
    valid = torch.tensor([[True, True, True], [True, False, False]])
    error = action_error(predicted, wanted, valid, "l1", discount=0.5)
    assert float(error) == pytest.approx((1 + 0.5 * 2 + 0.25 * 4 + 8) / (1 + 0.5 + 0.25 + 1))
    first = action_error(predicted, wanted, valid, "l1", discount=0.0)
    assert float(first) == pytest.approx((1 + 8) / 2)


@pytest.mark.parametrize("discount", [-0.1, 1.1, float("nan")])
def test_a_discount_is_from_0_to_1(discount):
    with pytest.raises(ConfigurationError, match="chunk_discount from 0 to 1"):
        PolicyConfig(chunk_discount=discount)
