"""What policies over tokens have in common: gradients, masks, history, independence of rows."""

import numpy as np
import pytest
import torch

from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from policies.base import INFERENCE_BATCH, Batch
from policies.checkpoints import load_policy, save_policy
from policies.registry import choose_policy
from policies.spec import FeatureShape, PolicySpec

SPEC = PolicySpec(5, 3, {"left": FeatureShape(16, 8, (4, 4)), "right": FeatureShape(16, 8, (4, 4))})
# Wide enough for the matrix products of real policies; those of fewer outputs round by position.
SMALL = {"width": 16, "heads": 2, "layers": 2, "feedforward": 16, "dropout": 0.2}
VARIANTS = {
    "act": {"transformer": SMALL},
    "act_cvae": {"name": "act", "transformer": SMALL, "cvae": True, "latent": 3},
    "transformer": {"transformer": {**SMALL, "norm": True}},
    "flow": {"name": "diffusion", "hidden": [16, 16]},
    "ddim": {"name": "diffusion", "hidden": [16, 16], "method": "ddim"},
    "denoising_transformer": {
        "name": "diffusion", "denoiser": "transformer", "transformer": SMALL,
    },
}  # fmt: skip


def make(name, **options):
    config = {
        "name": name, "history": 2, "action_chunk": 4, "execute": None,
        "tokens": {"kind": "grid"},
    }  # fmt: skip
    if name == "ddim":
        pytest.importorskip("diffusers")
    choice = choose_policy({**config, **VARIANTS[name], **options})
    policy = choice.make(SPEC, torch.Generator().manual_seed(0))
    policy.fit_statistics(observe(300), torch.randn(300, 3, generator=torch.Generator()))
    return policy


def observe(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"proprioception": (5,), "features/left": (16, 8), "features/right": (16, 8)}
    return {name: torch.randn(rows, *shape, generator=generator) for name, shape in shapes.items()}


def make_batch(policy, rows=6):
    windows = [policy.precompute(observe(rows, seed)) for seed in range(policy.history)]
    frames = {name: torch.stack([w[name] for w in windows], dim=1) for name in windows[0]}
    actions = torch.randn(rows, policy.chunk, 3, generator=torch.Generator().manual_seed(3))
    valid = torch.ones(rows, policy.chunk, dtype=torch.bool)
    valid[1, 2:] = False
    return Batch(frames, actions, valid)


@pytest.fixture(params=VARIANTS)
def policy(request):
    return make(request.param)


def test_gradients_reach_every_weight(policy):
    policy.train()
    loss, _ = policy.loss(make_batch(policy), torch.Generator().manual_seed(0))
    loss.backward()
    assert loss.ndim == 0
    for name, weight in policy.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


@pytest.mark.parametrize("noisy", [True, False])
def test_actions_past_an_episodes_end_do_not_count(policy, noisy):
    policy.eval()
    losses, gradients = [], []
    for value in (0.0, 5.0):
        batch = make_batch(policy)
        policy.zero_grad()
        if not policy.samples:  # a denoiser also reads the noised actions
            batch.actions[1, 2:] = value
        loss, _ = policy.loss(batch, torch.Generator().manual_seed(0) if noisy else None)
        loss.backward()
        losses.append(loss.item())
        gradients.append(next(policy.parameters()).grad)
    assert losses[0] == losses[1]
    torch.testing.assert_close(*gradients)


def test_only_what_lies_within_an_episode_is_averaged(policy, monkeypatch):
    whole, masks = [], []

    def spy(predicted, wanted, valid, loss="mse", discount=1.0):
        whole.append((predicted, wanted))
        masks.append(valid)
        return predicted.mean()

    monkeypatch.setitem(type(policy).loss.__globals__, "action_error", spy)
    batch = make_batch(policy)
    policy.loss(batch, torch.Generator())
    assert masks[0] is batch.valid
    assert whole[0][0].shape == whole[0][1].shape == (6, 4, 3)


def test_later_actions_of_a_chunk_count_as_much_as_is_asked_for(policy, monkeypatch):
    discounts = []

    def spy(predicted, wanted, valid, loss="mse", discount=1.0):
        discounts.append(discount)
        return predicted.mean()

    monkeypatch.setitem(type(policy).loss.__globals__, "action_error", spy)
    policy.config.chunk_discount = 0.25
    policy.loss(make_batch(policy), torch.Generator())
    assert discounts == [0.25]


def test_a_loss_without_a_generator_has_no_noise(policy):
    policy.train()
    batch = make_batch(policy)
    first, again = (policy.loss(batch)[0].item() for _ in range(2))
    assert first == again
    assert first != policy.loss(batch, torch.Generator().manual_seed(1))[0].item()


def test_older_frames_are_read(policy):
    batch = make_batch(policy)
    changed = {name: tensor.clone() for name, tensor in batch.observation.items()}
    changed["proprioception"][:, 0] += 1
    with torch.no_grad():
        plain, _ = policy.loss(batch)
        other, _ = policy.loss(Batch(changed, batch.actions, batch.valid))
    assert float(plain) != float(other)


def act(policy, rows, steps=7):
    """Rows of the same environments, step by step; the third one begins anew at step 3."""
    state, actions = None, []
    for step in range(steps):
        observation = {n: t[rows].numpy() for n, t in observe(40, 10 + step).items()}
        starts = (np.asarray(rows) == 2) & (step == 3)
        action, state = policy.predict(observation, state, starts)
        actions.append(action)
    return np.stack(actions)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("ensemble", [None, 0.01])
def test_an_episode_is_the_same_to_the_bit_beside_any_number_of_others(name, ensemble):
    policy = make(name, ensemble=ensemble)
    everything = list(range(2 * INFERENCE_BATCH + 3))
    together = act(policy, everything)
    for rows in ([2], [2, 20], [34, 2, 7]):
        np.testing.assert_array_equal(act(policy, rows), together[:, rows])


def test_a_loaded_policy_acts_as_the_saved_one_to_the_bit(policy, tmp_path):
    save_policy(policy, tmp_path / "policy", {})
    loaded = load_policy(tmp_path / "policy").policy
    np.testing.assert_array_equal(act(loaded, [0, 2]), act(policy, [0, 2]))


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"ensemble": 0.01}, 7), ({"execute": 3, "ensemble": None}, 3), ({"ensemble": None}, 2)],
)
def test_a_new_plan_is_made_when_it_is_due(monkeypatch, options, expected):
    policy = make("act", **options)
    plans, plan = [], policy.plan
    monkeypatch.setattr(policy, "plan", lambda *given: plans.append(1) or plan(*given))
    state = None
    for step in range(7):
        observation = {n: t.numpy() for n, t in observe(1, step).items()}
        _, state = policy.predict(observation, state)
    assert len(plans) == expected


def test_a_sampled_plan_follows_from_its_noise():
    policy = make("flow")
    observation = {n: t.numpy() for n, t in observe(2).items()}
    plain, _ = policy.predict(observation)
    again, _ = policy.predict(observation)
    np.testing.assert_array_equal(plain, again)
    other, _ = policy.predict(observation, deterministic=False)
    assert (plain != other).any()


def test_the_latent_is_at_its_prior_when_the_policy_acts():
    policy = make("act_cvae").eval()
    batch = make_batch(policy)
    with torch.no_grad():
        acted = policy.action_statistics(policy.plan(batch.observation))
        torch.testing.assert_close(
            acted, policy(batch.observation, torch.zeros(6, 3)), atol=1e-5, rtol=0
        )
        assert not torch.allclose(acted, policy(batch.observation, torch.ones(6, 3)))
    _, parts = policy.loss(batch, torch.Generator().manual_seed(0))
    assert set(parts) == {"l1", "kl"}
    assert parts["kl"] >= 0


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"name": "act", "transformer": {"width": 10}}, ConfigurationError, r"multiple of 4"),
        ({"name": "act", "transformer": {"heads": 3}}, ConfigurationError, r"heads = 3, got 64"),
        ({"name": "act", "transformer": {"layers": 0}}, ConfigurationError, r"layers >= 1"),
        ({"name": "act", "decoder_layers": 0}, ConfigurationError, r"decoder_layers >= 1"),
        ({"name": "act", "latent": 0}, ConfigurationError, r"latent >= 1"),
        ({"name": "act", "kl_weight": -1.0}, ConfigurationError, r"kl_weight >= 0"),
        ({"name": "diffusion", "steps": 0}, ConfigurationError, r"steps >= 1, got 0"),
        (
            {"name": "diffusion", "method": "ddim", "steps": 101}, ConfigurationError,
            r"steps <= 100 with policy\.method=ddim",
        ),
        ({"name": "diffusion", "hidden": []}, ConfigurationError, r"at least one positive width"),
        ({"name": "diffusion", "method": "ddpm"}, UnknownNameError, r"Did you mean 'ddim'"),
        ({"name": "diffusion", "denoiser": "unet"}, UnknownNameError, r"mlp, transformer"),
        ({"name": "transformer", "loss": "l2"}, UnknownNameError, r"l1"),
        ({"name": "mlp", "loss": "huber"}, UnknownNameError, r"l1"),
        ({"name": "act", "tokens": {"kind": "mean"}}, UnknownNameError, r"grid, principal"),
        ({"name": "act", "tokens": {"sizes": 2}}, UnknownNameError, r"Did you mean 'size'"),
    ],
)  # fmt: skip
def test_bad_options_are_refused(config, error, message):
    with pytest.raises(error, match=message):
        choose_policy(config)
