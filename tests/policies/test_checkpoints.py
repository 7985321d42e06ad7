import hashlib
import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from egodtm_robot.core.errors import CheckpointError
from policies.base import make_policy
from policies.checkpoints import load_policy, save_policy
from policies.mlp import MLPPolicy, MLPPolicyConfig
from policies.pooling import PoolingConfig
from policies.registry import choose_policy
from policies.spec import FeatureShape, PolicySpec

SPEC = PolicySpec(9, 7, {"left": FeatureShape(16, 6, (4, 4)), "state": FeatureShape(1, 3)})


@pytest.fixture
def saved(tmp_path):
    config = MLPPolicyConfig(pooling=PoolingConfig("spatial_softmax"), history=2)
    policy = make_policy(MLPPolicy, config, SPEC, torch.Generator().manual_seed(0))
    folder = tmp_path / "runs" / "step_10"
    save_policy(policy, folder, {"encoder_fingerprint": "abc", "encoder": {"name": "pixels"}})
    return policy, folder


def rewrite(folder, tensors=None, **changes):
    """Exchange parts of a checkpoint and make its hash fit again, as an attacker would."""
    if tensors is not None:
        safetensors.torch.save_file(tensors, folder / "policy.safetensors")
    description = json.loads((folder / "policy.json").read_text())
    data = (folder / "policy.safetensors").read_bytes()
    description["weights_sha256"] = hashlib.sha256(data).hexdigest()
    description |= changes
    (folder / "policy.json").write_text(json.dumps(description))


def test_a_loaded_policy_acts_as_the_saved_one_to_the_bit(saved):
    policy, folder = saved
    generator = np.random.default_rng(0)
    observation = {
        "proprioception": generator.normal(size=(5, 9)),
        "features/left": generator.normal(size=(5, 16, 6)),
        "features/state": generator.normal(size=(5, 1, 3)),
    }
    loaded = load_policy(folder)
    expected, _ = policy.predict(observation)
    actual, _ = loaded.policy.predict(observation)
    np.testing.assert_array_equal(actual, expected)
    assert loaded.policy.config == policy.config
    assert loaded.policy.spec == policy.spec
    assert loaded.provenance["encoder"] == {"name": "pixels"}
    assert sorted(os.listdir(folder)) == ["policy.json", "policy.safetensors"]


def test_saving_again_replaces_the_checkpoint(saved):
    policy, folder = saved
    save_policy(policy, folder, {"step": 11})
    assert load_policy(folder).provenance == {"step": 11}
    assert os.listdir(folder.parent) == [folder.name]


def test_features_of_another_encoder_are_refused(saved):
    loaded = load_policy(saved[1])
    loaded.require_encoder("abc")
    with pytest.raises(CheckpointError, match="encoder abc, this one is xyz"):
        loaded.require_encoder("xyz")


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        load_policy(tmp_path / "nowhere")


def test_a_flipped_bit_is_found(saved):
    path = saved[1] / "policy.safetensors"
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_policy(saved[1])


def test_a_pickle_is_never_executed(saved, tmp_path):
    flag = tmp_path / "executed"

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(flag),)

    folder = saved[1]
    for write in (pickle.dump, torch.save):
        with (folder / "policy.safetensors").open("wb") as file:
            write(Hostile(), file)
        rewrite(folder)
        with pytest.raises(CheckpointError, match="not a safetensors file"):
            load_policy(folder)
    assert not flag.exists()


def test_tensors_that_do_not_fit_are_listed(saved):
    policy, folder = saved
    tensors = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    tensors["extra"] = torch.zeros(1)
    tensors["head.0.weight"] = torch.zeros(2, 2)
    del tensors["head.0.bias"]
    tensors["head.2.bias"][0] = torch.nan
    rewrite(folder, tensors)
    with pytest.raises(CheckpointError) as caught:
        load_policy(folder)
    message = str(caught.value)
    assert "head.0.bias is missing" in message
    assert "extra is not expected" in message
    assert "head.0.weight should be" in message
    assert "head.2.bias holds values that are not finite" in message


def test_absurd_sizes_take_no_memory(saved):
    _, folder = saved
    config = json.loads((folder / "policy.json").read_text())["config"]
    rewrite(folder, config={**config, "hidden": [10**7, 10**7]})
    with pytest.raises(CheckpointError, match="should be"):
        load_policy(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[1]",
        "{}",
        "[" * 100_000,
        '{"format": 1}',
        "\x00\xff",
        '"' + "x" * 5_000_000,
    ],
)
def test_a_damaged_description_is_named(saved, text):
    (saved[1] / "policy.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"policy\.json"):
        load_policy(saved[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 99},
        {"version": 2},
        {"kind": 3},
        {"kind": "users", "import_path": "no.such.Policy"},
        {"kind": "users", "import_path": "os.path.join"},
        {"kind": "users", "import_path": 7},
        {"kind": "diffusion"},
        {"config": None},
        {"config": {"pooling": {"kind": "magic"}}},
        {"config": {"pooling": {}, "hidden": "abc"}},
        {"spec": {"proprioception": "many"}},
        {"spec": {"proprioception": 9, "actions": 7, "features": [1]}},
        {"spec": {"proprioception": -9, "actions": 7, "features": {}}},
        {"provenance": 3},
        {"weights_sha256": 5},
    ],
)
def test_a_description_of_something_else_is_refused(saved, changes):
    rewrite(saved[1], **changes)
    with pytest.raises(CheckpointError):
        load_policy(saved[1])


DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", ["mlp", "mlp_memory"])
def test_checkpoints_of_format_1_act_as_they_did(name):
    stored = safetensors.numpy.load_file(DATA / "format_1_actions.safetensors")
    prefix = "observation."
    observation = {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}
    turned = {key: array[::-1].copy() for key, array in observation.items()}
    loaded = load_policy(DATA / f"format_1_{name}")
    assert loaded.policy.kind == "mlp"
    state, actions = None, []
    for seen in (observation, observation, turned):
        action, state = loaded.policy.predict(seen, state)
        actions.append(action)
    np.testing.assert_allclose(np.stack(actions), stored[f"actions.{name}"], atol=1e-6)
    assert np.abs(np.diff(actions, axis=0)).max() > 0.01


USERS_MODULE = """
import torch
from policies.base import Policy

class Constant(Policy):
    kind = "users_constant"

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.action = torch.nn.Parameter(torch.full((spec.actions,), 0.25))

    def plan(self, observation, generator=None):
        return self.action.expand(len(observation["proprioception"]), self.chunk, -1)

    def loss(self, batch, generator=None):
        return (self.action - batch.actions).square().mean(), {}
"""


def test_a_users_policy_is_found_again_or_asked_for(tmp_path, monkeypatch):
    (tmp_path / "users_checkpointed.py").write_text(USERS_MODULE)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        choice = choose_policy({"_target_": "users_checkpointed.Constant"})
        save_policy(choice.make(SPEC, torch.Generator()), tmp_path / "step_1", {})
        loaded = load_policy(tmp_path / "step_1").policy
        assert type(loaded) is choice.policy_class
        assert torch.equal(loaded.action, torch.full((7,), 0.25))
    monkeypatch.delitem(sys.modules, "users_checkpointed")
    with pytest.raises(CheckpointError, match=r"users_checkpointed\.Constant.*PYTHONPATH"):
        load_policy(tmp_path / "step_1")


def test_what_ships_is_stored_without_an_import_path(saved):
    description = json.loads((saved[1] / "policy.json").read_text())
    assert (description["kind"], description["version"]) == ("mlp", 1)
    assert description["import_path"] is None
    assert "policies" not in json.dumps(description)


def test_a_bank_of_absurd_size_takes_no_memory(tmp_path):
    policy = choose_policy("knn").make(SPEC, torch.Generator())
    save_policy(policy, tmp_path / "knn", {})
    assert load_policy(tmp_path / "knn").policy.bank.shape == (0, 0)
    tensors = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    tensors["bank"] = torch.zeros(3)
    rewrite(tmp_path / "knn", tensors)
    with pytest.raises(CheckpointError, match="describe a policy"):
        load_policy(tmp_path / "knn")
