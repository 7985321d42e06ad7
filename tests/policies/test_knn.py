import numpy as np
import pytest
import torch

from egodtm_robot.core.errors import ConfigurationError, PoolingError
from policies.base import Batch, make_policy
from policies.knn import KNNPolicy, KNNPolicyConfig
from policies.pooling import PoolingConfig
from policies.spec import FeatureShape, PolicySpec

SPEC = PolicySpec(1, 1, {"left": FeatureShape(1, 2)})


def fitted(proprioception, features, actions, **settings):
    """A policy that knows these steps, each an episode of one step."""
    policy = make_policy(KNNPolicy, KNNPolicyConfig(**settings), SPEC, torch.Generator())
    observation = {
        "proprioception": torch.tensor(proprioception, dtype=torch.float32)[:, None],
        "features/left": torch.tensor(features, dtype=torch.float32)[:, None],
    }
    actions = torch.tensor(actions, dtype=torch.float32)[:, None]
    policy.fit_statistics(observation, actions)
    frames = {name: t[:, None] for name, t in policy.precompute(observation).items()}
    valid = torch.ones(len(actions), 1, dtype=torch.bool)
    policy.fit([Batch(frames, actions[:, None], valid)])
    return policy, {name: tensor.numpy() for name, tensor in observation.items()}


STEPS = ([0.0, 1.0, 2.0, 3.0], [[0, 0], [5, 0], [0, 5], [5, 5]], [-0.9, -0.3, 0.3, 0.9])


def test_one_neighbor_gives_what_was_done_in_the_nearest_step():
    policy, observation = fitted(*STEPS, neighbors=1)
    near = {name: array + 0.01 for name, array in observation.items()}
    actions, state = policy.predict(near)
    np.testing.assert_allclose(actions[:, 0], STEPS[2], atol=1e-6)
    assert state is None


def test_weights_are_the_softmax_of_negative_distances():
    policy, observation = fitted(*STEPS, neighbors=4, temperature=0.5)
    bank = policy.bank.numpy()
    distances = np.linalg.norm(bank[0] - bank, axis=1)
    weights = np.exp(-distances / 0.5)
    expected = (weights * STEPS[2]).sum() / weights.sum()
    actions, _ = policy.predict(observation)
    assert actions[0, 0] == pytest.approx(expected, abs=1e-5)


def test_more_neighbors_than_steps_take_all():
    policy, observation = fitted(*STEPS, neighbors=100, temperature=1e6)
    actions, _ = policy.predict(observation)
    np.testing.assert_allclose(actions, np.mean(STEPS[2]), atol=1e-4)


def test_no_modality_is_nearer_by_its_unit_alone():
    proprioception, features, actions = STEPS
    plain, observation = fitted(proprioception, features, actions, temperature=0.5)
    scaled, _ = fitted(proprioception, 1000 * np.array(features), actions, temperature=0.5)
    observation = {name: array + 0.3 for name, array in observation.items()}
    larger = observation | {"features/left": 1000 * observation["features/left"]}
    np.testing.assert_allclose(scaled.predict(larger)[0], plain.predict(observation)[0], atol=1e-4)
    lengths = plain.bank.split([1, 2], dim=1)
    for vectors in lengths:
        assert float(vectors.square().sum(1).mean()) == pytest.approx(1.0, rel=1e-4)


def test_proprioception_can_be_left_out():
    policy, observation = fitted(*STEPS, neighbors=1, proprioception_weight=0.0)
    elsewhere = observation | {"proprioception": observation["proprioception"][::-1].copy()}
    np.testing.assert_array_equal(policy.predict(elsewhere)[0], policy.predict(observation)[0])


def test_neighbors_past_their_episodes_end_have_nothing_to_say():
    policy = make_policy(
        KNNPolicy, KNNPolicyConfig(neighbors=2, action_chunk=2), SPEC, torch.Generator()
    )
    frames = {"embedded": torch.tensor([[[0.0, 0, 0]], [[0.1, 0, 0]]])}
    actions = torch.tensor([[[0.5], [0.5]], [[-0.5], [-0.7]]])
    policy.fit([Batch(frames, actions, torch.tensor([[True, False], [True, True]]))])
    plan = policy.plan({"embedded": torch.zeros(1, 1, 3)})
    assert -0.5 < float(plan[0, 0]) < 0.5, "both speak of the present step"
    assert float(plan[0, 1]) == pytest.approx(-0.7), "one alone of the next"


def test_it_takes_no_gradient_steps():
    policy = make_policy(KNNPolicy, KNNPolicyConfig(), SPEC, torch.Generator())
    assert not list(policy.optimized_parameters())


def test_tokens_on_a_grid_are_pooled():
    spec = PolicySpec(1, 1, {"left": FeatureShape(4, 3, (2, 2))})
    config = KNNPolicyConfig(pooling=PoolingConfig("mean"))
    policy = make_policy(KNNPolicy, config, spec, torch.Generator())
    frames = {"proprioception": torch.zeros(5, 1), "features/left": torch.rand(5, 4, 3)}
    assert policy.precompute(frames)["embedded"].shape == (5, 1 + 3)


def test_a_pooling_that_learns_is_refused():
    spec = PolicySpec(1, 1, {"left": FeatureShape(4, 3, (2, 2))})
    with pytest.raises(PoolingError, match="learns no weights.*attention"):
        make_policy(
            KNNPolicy, KNNPolicyConfig(pooling=PoolingConfig("attention")), spec, torch.Generator()
        )


@pytest.mark.parametrize(
    "settings", [{"neighbors": 0}, {"temperature": 0.0}, {"proprioception_weight": -1.0}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        KNNPolicyConfig(**settings)
