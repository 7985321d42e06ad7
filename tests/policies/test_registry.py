"""Policies by name, by kind, by configuration and by import path."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from egodtm_robot.core.configuration.instantiation import group_config
from egodtm_robot.core.errors import (
    ConfigurationError,
    PolicyOptionError,
    UnknownNameError,
)
from policies.mlp import MLPPolicy, MLPPolicyConfig
from policies.pooling import PoolingConfig
from policies.registry import choose_policy, policy_names
from policies.spec import FeatureShape, PolicySpec

SPEC = PolicySpec(2, 2, {"left": FeatureShape(1, 3)})
USERS_MODULE = """
from dataclasses import dataclass
import torch
from policies.base import Policy, PolicyConfig
from policies.mlp import MLPPolicy

@dataclass
class LinearConfig(PolicyConfig):
    bias: bool = True

class Linear(Policy):
    kind = "users_linear"
    config_class = LinearConfig

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.layer = torch.nn.Linear(spec.proprioception, spec.actions, bias=config.bias)

    def plan(self, observation, generator=None):
        return self.layer(observation["proprioception"][:, -1])[:, None]

    def loss(self, batch, generator=None):
        return (self.plan(batch.observation) - batch.actions).square().mean(), {}

class Nameless(Linear):
    pass

class Taken(Linear):
    kind = "mlp"

class NotAPolicy:
    pass
"""


@pytest.fixture
def users_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "users_policies.py").write_text(USERS_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "users_policies", raising=False)
    return "users_policies"


SHIPPED = [name for name in policy_names() if name != "custom"]


@pytest.mark.parametrize("name", SHIPPED)
def test_files_name_every_option_of_their_policy(name: str):
    """So that each is set on the command line without a plus sign."""
    written = {key for key in group_config("policy", name) if key not in ("name", "_target_")}
    fields = dataclasses.fields(choose_policy(name).policy_class.config_class)
    assert written == {field.name for field in fields}
    assert group_config("policy", name)["name"] == name


@pytest.mark.parametrize("name", ["mlp", "knn"])
def test_files_say_the_defaults_of_the_code(name: str):
    choice = choose_policy(name)
    assert choice.config == choice.policy_class.config_class()


def test_a_file_builds_on_another_one():
    choice = choose_policy("mlp_mean")
    assert choice.policy_class is MLPPolicy
    changed = MLPPolicyConfig(
        pooling=PoolingConfig("mean"), activation="tanh", input_normalization="batch", bottleneck=0
    )
    assert choice.config == changed


def test_what_is_stored_names_the_kind_and_is_read_again():
    choice = choose_policy({"name": "knn", "neighbors": 3, "pooling": {"components": 7}})
    stored = choice.to_json()
    assert stored["kind"] == "knn"
    assert "_target_" not in stored
    assert choose_policy(stored) == choice
    assert choose_policy({"kind": "mlp"}).policy_class is MLPPolicy


def test_a_users_policy_replaces_the_default_one_by_import_path(users_module: str):
    """As ``policy._target_=users_policies.Linear`` does to the composed configuration."""
    path = f"{users_module}.Linear"
    choice = choose_policy({**group_config("policy", "mlp"), "_target_": path})
    assert choice.kind == "users_linear"
    clean = choose_policy({**group_config("policy", "custom"), "_target_": path, "bias": False})
    assert clean.config.bias is False
    stored = clean.to_json()
    assert stored["_target_"] == path, "there is no other way to find it again"
    assert choose_policy(stored) == clean
    assert choose_policy(path) == choose_policy({"_target_": path})


def test_a_constructors_weights_come_from_the_generator_alone(users_module: str):
    choice = choose_policy({"_target_": f"{users_module}.Linear"})
    before = torch.get_rng_state()
    made = [choice.make(SPEC, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(made[0].layer.weight, made[1].layer.weight)
    assert not torch.equal(made[0].layer.weight, made[2].layer.weight)


def test_unknown_names_and_options_come_with_the_nearest(users_module: str):
    with pytest.raises(UnknownNameError, match="Did you mean 'knn'"):
        choose_policy("kn")
    with pytest.raises(UnknownNameError, match="Did you mean 'neighbors'"):
        choose_policy({"name": "knn", "neighbours": 3})
    with pytest.raises(UnknownNameError, match=r"option of policy\.pooling 'sise'.*'size'"):
        choose_policy({"name": "mlp", "pooling": {"sise": 3}})
    with pytest.raises(UnknownNameError, match="'hidden'"):
        choose_policy({"_target_": f"{users_module}.Linear", "hidden": [3]})
    with pytest.raises(
        UnknownNameError, match="kind of policy 'kmn'; expected one of: act, .*'knn'"
    ):
        choose_policy({"kind": "kmn"})


def test_options_of_the_wrong_type_are_refused():
    with pytest.raises(ConfigurationError, match=r"policy\.neighbors.*many"):
        choose_policy({"name": "knn", "neighbors": "many"})
    with pytest.raises(ConfigurationError, match="neighbors >= 1"):
        choose_policy({"name": "knn", "neighbors": 0})


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no.such.module.Policy", "import path"),
        ("users_policies.Missing", "import path"),
        ("users_policies.NotAPolicy", "subclass"),
        ("users_policies.Nameless", "declares no kind"),
        ("users_policies.Taken", "kind of its own, got 'mlp'"),
    ],
)
def test_classes_that_break_the_contract_are_refused(users_module: str, target: str, message: str):
    with pytest.raises(PolicyOptionError, match=message):
        choose_policy({"_target_": target})


def test_no_policy_at_all_is_refused():
    with pytest.raises(PolicyOptionError, match="knn, mlp"):
        choose_policy({})
