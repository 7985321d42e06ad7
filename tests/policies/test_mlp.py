import numpy as np
import pytest
import torch

from egodtm_robot.core.configuration import from_mapping
from egodtm_robot.core.errors import ConfigurationError, ObservationError, UnknownNameError
from policies.base import INFERENCE_BATCH, make_policy
from policies.mlp import MLPPolicy, MLPPolicyConfig
from policies.pooling import PoolingConfig
from policies.spec import FeatureShape, PolicySpec

SPEC = PolicySpec(9, 7, {"left": FeatureShape(16, 6, (4, 4)), "right": FeatureShape(16, 6, (4, 4))})
VARIANTS = {
    "plain": {},
    "spatial_softmax": {"pooling": PoolingConfig("spatial_softmax")},
    "attention": {"pooling": PoolingConfig("attention")},
    "scale": {"input_normalization": "scale", "activation": "tanh"},
    "memory": {"history": 3, "action_chunk": 4},
}


def make(settings=None, spec=SPEC, seed=0):
    policy = make_policy(
        MLPPolicy, MLPPolicyConfig(**(settings or {})), spec, torch.Generator().manual_seed(seed)
    )
    with torch.no_grad():
        policy.head[-1].weight.mul_(100)
    return policy


def observe(rows, spec=SPEC, seed=0):
    generator = np.random.default_rng(seed)
    observation = {"proprioception": generator.normal(size=(rows, spec.proprioception))}
    for camera, shape in spec.features.items():
        observation[f"features/{camera}"] = generator.normal(
            size=(rows, shape.tokens, shape.dimension)
        )
    return {key: value.astype(np.float32) for key, value in observation.items()}


def take(observation, rows):
    return {key: value[rows] for key, value in observation.items()}


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_actions_are_float32_within_their_limits(settings):
    policy = make(settings)
    with torch.no_grad():
        policy.action_statistics.scale.fill_(100.0)
    actions, _ = policy.predict(observe(5))
    assert actions.shape == (5, 7)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() == 1.0


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_a_row_does_not_depend_on_its_neighbors_to_the_bit(settings):
    policy = make(settings)
    observation = observe(2 * INFERENCE_BATCH + 5)
    together, _ = policy.predict(observation)
    for row in range(len(together)):
        alone, _ = policy.predict(take(observation, slice(row, row + 1)))
        np.testing.assert_array_equal(alone[0], together[row])


def test_large_inputs_keep_rows_independent_to_the_bit():
    spec = PolicySpec(9, 9, {"left": FeatureShape(49, 64, (7, 7))})
    policy = make({"pooling": PoolingConfig("flatten")}, spec)
    observation = observe(INFERENCE_BATCH, spec)
    together, _ = policy.predict(observation)
    for row in range(INFERENCE_BATCH):
        alone, _ = policy.predict(take(observation, slice(row, row + 1)))
        np.testing.assert_array_equal(alone[0], together[row])


def test_first_actions_are_the_mean_of_the_demonstrations():
    policy = make_policy(MLPPolicy, MLPPolicyConfig(), SPEC, torch.Generator().manual_seed(0))
    tensors = policy.tensors(observe(200))
    wanted = torch.linspace(-0.5, 0.5, 7)
    actions = wanted + 0.1 * torch.randn(200, 7, generator=torch.Generator().manual_seed(0))
    policy.fit_statistics(tensors, actions)
    predicted, _ = policy.predict(observe(20, seed=1))
    np.testing.assert_allclose(predicted.mean(0), wanted, atol=0.02)


def test_weights_come_from_the_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = make(VARIANTS["attention"], seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    second = make(VARIANTS["attention"], seed=5).state_dict()
    other = make(VARIANTS["attention"], seed=6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert all(bool(tensor.isfinite().all()) for tensor in first.values())


def test_prediction_never_moves_batch_norm():
    policy = make({"input_normalization": "batch"})
    assert any("running_mean" in name for name in policy.state_dict())
    policy.train()
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    policy.predict(observe(20))
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.state_dict().items())


def test_one_observation_needs_no_batch_axis():
    policy = make()
    observation = observe(1)
    single, state = policy.predict(take(observation, 0))
    batched, _ = policy.predict(observation)
    assert state is None
    np.testing.assert_array_equal(single, batched[0])


def test_history_repeats_the_first_frame_and_forgets_at_an_episodes_start():
    policy = make({"history": 3}).eval()
    frames = [observe(2, seed=seed) for seed in range(4)]

    def direct(*window):
        embedded = [policy.embed(policy.tensors(frame)) for frame in window]
        with torch.no_grad():
            plan = policy(torch.cat(embedded, 1))
        return policy.action_statistics.inverse(plan)[:, 0].clamp(-1, 1).numpy()

    first, state = policy.predict(frames[0])
    np.testing.assert_allclose(first, direct(frames[0], frames[0], frames[0]), atol=1e-6)
    second, state = policy.predict(frames[1], state)
    np.testing.assert_allclose(second, direct(frames[0], frames[0], frames[1]), atol=1e-6)
    third, state = policy.predict(frames[2], state, np.array([False, True]))
    expected = direct(frames[0], frames[1], frames[2])
    np.testing.assert_allclose(third[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(third[1], direct(frames[2], frames[2], frames[2])[1], atol=1e-6)


def test_a_chunk_is_executed_to_its_end_before_the_next_look():
    policy = make({"action_chunk": 3}).eval()
    frames = [observe(2, seed=seed) for seed in range(5)]
    plans = []
    for frame in frames:
        with torch.no_grad():
            plan = policy(policy.embed(policy.tensors(frame)))
        plans.append(policy.action_statistics.inverse(plan).clamp(-1, 1).numpy())
    state = None
    actions = []
    for step, frame in enumerate(frames):
        # The second row's episode begins anew at step 2.
        starts = np.array([step == 0, step in (0, 2)])
        action, state = policy.predict(frame, state, starts)
        actions.append(action)
    for step, (frame, offset) in enumerate([(0, 0), (0, 1), (0, 2), (3, 0), (3, 1)]):
        np.testing.assert_allclose(actions[step][0], plans[frame][0, offset], atol=1e-6)
    for step, (frame, offset) in enumerate([(0, 0), (0, 1), (2, 0), (2, 1), (2, 2)]):
        np.testing.assert_allclose(actions[step][1], plans[frame][1, offset], atol=1e-6)


def test_missing_and_misshapen_observations_are_named():
    policy = make()
    observation = observe(2)
    del observation["features/right"]
    with pytest.raises(ObservationError, match=r"no features/right; it holds proprioception"):
        policy.predict(observation)
    observation = observe(2)
    observation["features/left"] = observation["features/left"][:, :9]
    with pytest.raises(ObservationError, match=r"features/left of shape \(B, 16, 6\), got"):
        policy.predict(observation)
    observation = observe(2)
    observation["proprioception"] = observation["proprioception"][:1]
    with pytest.raises(ObservationError, match="one batch size"):
        policy.predict(observation)
    with pytest.raises(ObservationError, match="holds nothing"):
        policy.predict({})


def test_an_encoder_that_sees_nothing_leaves_proprioception():
    spec = PolicySpec(9, 7, {"left": FeatureShape(1, 0)})
    policy = make(spec=spec)
    assert policy.embedding_dimension == 9
    actions, _ = policy.predict(observe(3, spec))
    assert actions.shape == (3, 7)


def test_bad_settings_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'relu'"):
        from_mapping(MLPPolicyConfig, {"activation": "rely"})
    with pytest.raises(UnknownNameError, match="input_normalization"):
        from_mapping(MLPPolicyConfig, {"input_normalization": "layer"})
    with pytest.raises(ConfigurationError, match="history"):
        MLPPolicyConfig(history=0)
    with pytest.raises(ConfigurationError, match="hidden"):
        MLPPolicyConfig(hidden=[])


def test_a_wide_camera_passes_through_its_bottleneck_and_a_narrow_one_does_not():
    shapes = {"wide": FeatureShape(16, 6, (4, 4)), "state": FeatureShape(1, 15)}
    policy = make({"bottleneck": 3}, PolicySpec(9, 7, shapes))
    assert policy.head[0].in_features == 9 + 3 + 15
    assert make({"bottleneck": 0}, PolicySpec(9, 7, shapes)).head[0].in_features == 9 + 96 + 15


@pytest.mark.parametrize("history", [1, 3])
def test_noise_comes_from_the_generator_and_in_training_alone(history):
    policy = make({"history": history, "bottleneck_noise": 0.5}).train()
    inputs = torch.randn(
        5, history * policy.embedding_dimension, generator=torch.Generator().manual_seed(0)
    )
    before = torch.get_rng_state()
    with torch.no_grad():
        quiet = policy(inputs)
        noisy = [policy(inputs, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
        settled = policy.eval()(inputs, torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(quiet, settled)
    assert torch.equal(noisy[0], noisy[1])
    assert not torch.allclose(noisy[0], quiet)
    assert not torch.allclose(noisy[0], noisy[2])


def test_a_bottleneck_reads_each_frame_with_the_same_weights():
    policy = make({"history": 2}).eval()
    frame = torch.randn(4, policy.embedding_dimension, generator=torch.Generator().manual_seed(0))
    seen = []
    policy.head.register_forward_hook(lambda module, given, result: seen.append(given[0]))
    with torch.no_grad():
        policy(torch.cat([frame, frame], 1))
    assert torch.equal(*seen[0].chunk(2, 1))


@pytest.mark.parametrize("settings", [{"bottleneck": -1}, {"bottleneck_noise": float("nan")}])
def test_an_impossible_bottleneck_is_refused(settings):
    with pytest.raises(ConfigurationError, match="bottleneck"):
        MLPPolicyConfig(**settings)
