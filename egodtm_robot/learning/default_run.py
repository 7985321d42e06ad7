"""The folder of a run of the main job that was given none."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.configuration.instantiation import MISSING, choose, group_names
from egodtm_robot.core.default_folder import default_folder
from envs.options import EnvironmentConfig
from envs.registry import environment_record, read_environment
from policies.registry import choose_policy, policy_names

if TYPE_CHECKING:
    from egodtm_robot.learning.cloning_run import TrainBCConfig


def default_run_dir(
    config: "TrainBCConfig",
    encoder_name: str,
    command: str = "train_bc",
    choices: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """``runs/<task>/<encoder>/<protocol>_seed<seed>``, with what differs from the defaults.

    Args:
        config: of the run.
        encoder_name: as results call the encoder.
        command: whose configuration it is.
        choices: of further groups that every run's folder names behind the encoder, such as
            ``{"algorithm": "ppo"}``.

    Returns:
        Such as ``runs/light/egodtm-policy_knn-demos.noise_0.1/quick_seed0``; see
        :func:`~egodtm_robot.core.default_folder.default_folder`.
    """
    name = "-".join([encoder_name, *choices.values()])
    base = Path("runs", read_environment(config.env).folder, name)
    leaf = f"{config.protocol.name}_seed{config.seed}"
    return default_folder(base, config, _usual(config, command, choices), leaf=leaf)


def _usual(config: "TrainBCConfig", command: str, choices: Mapping[str, str]) -> "TrainBCConfig":
    """What the command would do with this environment, encoder and protocol and nothing else."""
    environment = read_environment(config.env)
    encoder = choose("encoder", config.encoder)
    named = {"env": environment.name, "encoder": encoder.name, "protocol": config.protocol.name}
    named |= choices
    chosen = [f"{group}={name}" for group, name in named.items() if name in group_names(group)]
    usual = compose(type(config), command, chosen)
    usual.seed = config.seed
    if environment.name not in group_names("env"):
        usual.env = _usual_environment(environment, config.env)
    # Of a class of the user's, no more is set than the options that were given.
    defaults = config.encoder.keys() - encoder.options.keys()
    usual.encoder = {
        name: value
        for name, value in (config.encoder if encoder.name is None else usual.encoder).items()
        if name in (defaults if encoder.name is None else config.encoder)
    }
    kind = usual.policy["kind"]
    if config.policy["kind"] != kind:
        # The options are compared with the defaults of their own policy.
        usual.policy = {**_usual_policy(config.policy), "kind": kind}
    return usual


def _usual_environment(environment: EnvironmentConfig, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of an environment of the user's with the defaults of its class."""
    required = {
        field.name: getattr(environment, field.name)
        for field in dataclasses.fields(environment)
        if field.default == MISSING
    }
    usual = environment_record(read_environment(required))
    told = {*required} - {"task", "_target_"}
    return {name: value for name, value in usual.items() if name in record and name not in told}


def _usual_policy(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a policy with the defaults of its own file, or of its class."""
    kind = policy["kind"]
    if kind in policy_names():
        return choose_policy(kind).to_json()
    return choose_policy(
        {name: policy[name] for name in ("kind", "_target_") if name in policy}
    ).to_json()
