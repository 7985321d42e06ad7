from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from egodtm_robot.core.configuration import compose, from_mapping
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.core.seeding import episode_seeds
from egodtm_robot.core.training.identity import decisive
from egodtm_robot.learning import protocol as protocol_module
from egodtm_robot.learning.behavior_cloning import BehaviorCloningConfig, PolicyCheckpoint
from egodtm_robot.learning.cloning_run import TrainBCConfig
from egodtm_robot.learning.protocol import ProtocolConfig, protocol_hash
from policies.registry import choose_policy


def load(group, name, schema):
    text = (resources.files("configs") / group / f"{name}.yaml").read_text()
    config = OmegaConf.create(text)
    defaults = config.pop("defaults", [])
    # A protocol may also set other groups' values; its own then stand under its key.
    config = config.get("protocol", config)
    # An override of another group says nothing about this one's own keys.
    names = [entry for entry in defaults if isinstance(entry, str) and entry != "_self_"]
    parts = [load_plain(group, entry) for entry in names]
    return from_mapping(schema, OmegaConf.merge(*parts, config))


def load_plain(group, name):
    return OmegaConf.create((resources.files("configs") / group / f"{name}.yaml").read_text())


def names(group):
    folder = resources.files("configs") / group
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if ".yaml" in entry.name)


@pytest.mark.parametrize("name", names("protocol"))
def test_protocol_files_fit_their_schema(name):
    config = load("protocol", name, ProtocolConfig)
    assert isinstance(config, ProtocolConfig)
    assert config.name == name
    assert config.training.checkpoint_steps()[-1] == config.training.steps


def test_r3m_is_as_published():
    config = load("protocol", "r3m", ProtocolConfig)
    assert config.demonstrations == 25
    assert config.training.steps == 20_000
    assert config.training.batch_size == 32
    assert config.training.schedule == "constant"
    assert config.training.checkpoint_steps() == list(range(1_000, 20_001, 1_000))
    assert config.selection_episodes == 50
    assert config.report_maximum


@pytest.mark.parametrize(
    ("overrides", "policy"),
    [
        (["protocol=r3m"], "mlp_mean"),
        (["protocol=r3m", "policy=mlp"], "mlp"),
        (["policy=mlp_attention", "protocol=r3m"], "mlp_attention"),
    ],
)
def test_r3m_brings_its_own_head_unless_a_policy_is_named(overrides, policy):
    composed = compose(TrainBCConfig, "train_bc", overrides).policy
    assert composed == choose_policy(policy).to_json()


def test_standard_draws_looks_anew_unless_the_command_line_says_otherwise():
    assert compose(TrainBCConfig, "train_bc", ["protocol=standard"]).env["visual"] == "varied"
    assert compose(TrainBCConfig, "train_bc", ["protocol=quick"]).env["visual"] == "fixed"
    chosen = ["protocol=standard", "env.visual=shifted", "env=franka_kitchen_knob"]
    composed = compose(TrainBCConfig, "train_bc", chosen)
    assert (composed.env["visual"], composed.env["task"]) == ("shifted", "knob")
    assert composed.protocol == load("protocol", "standard", ProtocolConfig)


def test_no_episode_is_met_twice():
    config = load("protocol", "r3m", ProtocolConfig)
    seeds = [
        values
        for seed in (0, 1)
        for values in (
            *(config.selection_seeds(seed, checkpoint) for checkpoint in range(20)),
            episode_seeds("tuning", seed, config.final_episodes),
            episode_seeds("final", seed, config.final_episodes),
        )
    ]
    together = np.concatenate(seeds)
    assert len(np.unique(together)) == len(together)


def test_paired_selection_meets_the_same_episodes():
    config = ProtocolConfig(selection="success", selection_episodes=10)
    np.testing.assert_array_equal(config.selection_seeds(0, 0), config.selection_seeds(0, 5))


def checkpoints(*losses):
    return [PolicyCheckpoint(i, Path(), 0.0, loss) for i, loss in enumerate(losses)]


def test_the_chosen_checkpoint_is_the_latest_of_the_best():
    found = checkpoints(0.3, 0.1, 0.1, 0.2)
    assert ProtocolConfig(selection="last").choose(found) == 3
    assert ProtocolConfig(selection="validation").choose(found) == 2
    by_success = ProtocolConfig(selection="success", selection_episodes=5)
    assert by_success.choose(found, [3, 4, 2, 4]) == 3
    assert by_success.choose(found, [3, 5, 2, 4]) == 1
    assert ProtocolConfig(selection="validation").choose(checkpoints(None, None)) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"selection": "success"}, "selection_episodes"),
        ({"report_maximum": True}, "selection_episodes"),
        (
            {
                "selection": "validation",
                "training": BehaviorCloningConfig(validation_fraction=0.0),
            },
            "validation_fraction",
        ),
        ({"final_episodes": 0}, "final_episodes"),
    ],
)
def test_contradictory_settings_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        ProtocolConfig(**settings)


def test_an_unknown_selection_is_refused():
    with pytest.raises(UnknownNameError, match="selection"):
        from_mapping(ProtocolConfig, {"selection": "best"})


FROZEN = {
    "few": ("a4e1560443c58897", "dd3b97ae056b425c"),
    "fixed_camera": ("b8370e40265bfc1a", "66646d761ae3327b"),
    "quick": ("6d9a39eede89ab4d", "bc87db4416332619"),
    "r3m": ("cd690d6185a9c89c", "f208140d1b606407"),
    "r3m_v005": ("cd690d6185a9c89c", "67f97d3f6e8c8e67"),
    "shifted": ("abb40ed1965f1153", "dd3b97ae056b425c"),
    "standard": ("b8370e40265bfc1a", "dd3b97ae056b425c"),
}
"""By name: what ``results.json`` carries, and the same of the environment and the policy that go
with the protocol. Results of these names exist: whoever changes what a name stands for gives it
another name."""

DEMONSTRATIONS = {"episodes": 100, "noise": 0.05, "seed": 0}


@pytest.mark.parametrize("name", names("protocol"))
def test_a_named_protocol_stays_what_it_was_when_it_was_frozen(name):
    config = compose(TrainBCConfig, "train_bc", [f"protocol={name}"])
    learned_from = {**decisive(config.demos), "episodes": config.protocol.demonstrations}
    own = protocol_hash(config.protocol, learned_from, config.evaluation_split)
    assert (own, hash_parts(config.env, config.policy)) == FROZEN[name]
    page = Path(__file__).parents[2] / "docs" / "reference" / "protocols.md"
    assert f"| `{name}` | `{own}` |" in page.read_text()


@pytest.mark.parametrize(
    "changed",
    [
        {"final_episodes": 71},
        {"selection": "validation"},
        {"further_looks": ["shifted"]},
        {"training": BehaviorCloningConfig(batch_size=257)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_setting_enters_the_hash_of_a_protocol(changed):
    config = ProtocolConfig()
    before = protocol_hash(config, DEMONSTRATIONS, "final")
    assert protocol_hash(replace(config, **changed), DEMONSTRATIONS, "final") != before


def test_demonstrations_split_and_seeds_enter_the_hash_of_a_protocol(monkeypatch):
    config = ProtocolConfig()
    hashes = [
        protocol_hash(config, DEMONSTRATIONS | changed, split)
        for changed in ({}, {"episodes": 10}, {"noise": 0.1}, {"seed": 1})
        for split in ("final", "tuning")
    ]
    monkeypatch.setattr(protocol_module, "episode_seeds", lambda *args: 1 + episode_seeds(*args))
    hashes.append(protocol_hash(config, DEMONSTRATIONS, "final"))
    assert len(set(hashes)) == 9


def test_names_proposals_and_facts_about_a_collection_change_no_hash():
    config = ProtocolConfig()
    same = replace(config, name="mine", visual="varied", demonstrations=7)
    facts = DEMONSTRATIONS | {"path": "elsewhere", "attempted": 101}
    assert protocol_hash(config, DEMONSTRATIONS, "final") == protocol_hash(same, facts, "final")


def test_the_standing_camera_of_a_protocol_gives_way_to_the_command_line():
    def cameras(*overrides):
        return compose(TrainBCConfig, "train_bc", overrides).env["cameras"]

    assert cameras("protocol=fixed_camera", "env=franka_kitchen_knob") == ["left"]
    assert cameras("env.cameras=[right]", "protocol=fixed_camera") == ["right"]


@pytest.mark.parametrize("name", ["few", "shifted", "fixed_camera"])
def test_a_regime_differs_from_standard_in_what_it_says_alone(name):
    standard = load("protocol", "standard", ProtocolConfig)
    own = {"few": {"demonstrations": 25}, "shifted": {"further_looks": ["shifted"]}}
    assert load("protocol", name, ProtocolConfig) == replace(
        standard, name=name, **own.get(name, {})
    )
