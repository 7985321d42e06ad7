"""The command that trains the runs of an arm again, from the settings that they were stored with.

A run's ``config.yaml`` holds every setting. The command names only what differs from the choices of
the groups, so that it can be read, and varies environment and seed, so that it is one line.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from egodtm_robot.comparison.report.run_records import RunRecord
from egodtm_robot.core.configuration import compose, from_mapping
from egodtm_robot.core.configuration.instantiation import group_names
from egodtm_robot.core.errors import EgoDTMRobotError
from egodtm_robot.core.training.identity import decisive
from egodtm_robot.learning.cloning_run import TrainBCConfig

_MODULE = "egodtm_robot.train_bc"
_OWN = ("seed", "run_dir", "device", "workers", "environments", "videos")
"""Settings that each run has its own of, or that do not decide it."""


def training_commands(
    records: Mapping[str, Sequence[RunRecord]],
) -> dict[str, tuple[str, ...]]:
    """The commands that train runs again, as few as vary over environments and seeds alone.

    Args:
        records: of each arm's runs.

    Returns:
        Lines for a shell, by the arm's name. Runs with parts that are no name of their group, or
        whose settings cannot be read, are in none of them.
    """
    differences = _Differences()
    return {arm: _lines(differences, own) for arm, own in records.items()}


def _lines(differences: "_Differences", records: Sequence[RunRecord]) -> tuple[str, ...]:
    grouped: dict[tuple[str, ...], dict[str, list[int]]] = {}
    for record in records:
        words = differences.of(record)
        if words is not None:
            seeds = grouped.setdefault(words, {}).setdefault(record.results.env, [])
            seeds.append(record.results.seed)
    lines = []
    for words, environments in grouped.items():
        # Environments with the same seeds share a line, for a sweep takes every combination.
        by_seeds: dict[tuple[int, ...], list[str]] = {}
        for environment, seeds in environments.items():
            by_seeds.setdefault(tuple(sorted(seeds)), []).append(environment)
        for numbers, names in by_seeds.items():
            sweep = ["-m"] if len(names) > 1 or len(numbers) > 1 else []
            varied = [f"env={','.join(names)}", f"seed={','.join(map(str, numbers))}"]
            lines.append(shlex.join(["python", "-m", _MODULE, *sweep, *varied, *words]))
    return tuple(lines)


class _Differences:
    """What runs were given beyond the names of their groups, found once for equal settings.

    Composing takes a third of a second. What the environment adds does not depend on the encoder,
    and what the rest adds does not on the environment: each is found with the first of the other.
    """

    def __init__(self) -> None:
        self._rest: dict[str, tuple[str, ...] | None] = {}
        self._environment: dict[str, tuple[str, ...] | None] = {}

    def of(self, record: RunRecord) -> tuple[str, ...] | None:
        """Choices and settings of a run but for environment and seed; None if not to be told."""
        settings = {name: one for name, one in record.settings.items() if name not in _OWN}
        environment = settings.pop("env", None)
        rest_key = json.dumps(settings, default=str)
        environment_key = json.dumps(
            [environment, record.results.env, record.results.protocol], default=str
        )
        if rest_key not in self._rest or environment_key not in self._environment:
            rest, added = _words(record.settings, record.results.env)
            self._rest.setdefault(rest_key, rest)
            self._environment.setdefault(environment_key, added)
        known = self._rest[rest_key], self._environment[environment_key]
        return None if known[0] is None or known[1] is None else (*known[0], *known[1])


def _words(
    settings: Mapping[str, Any], environment: str
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Choices and settings of a run, and the settings of its environment."""
    try:
        stored = decisive(from_mapping(TrainBCConfig, dict(settings)))
        choices = {
            "env": environment,
            "encoder": str(stored["encoder"].get("name")),
            "policy": str(stored["policy"].get("kind")),
            "protocol": str(stored["protocol"].get("name")),
        }
        if any(name not in group_names(group) for group, name in choices.items()):
            return None, None
        chosen = [f"{group}={name}" for group, name in choices.items()]
        base = decisive(compose(TrainBCConfig, "train_bc", chosen))
    except EgoDTMRobotError:
        return None, None
    found = [
        (key, f"{key}={_value(value)}")
        for key, value in _differences(base, stored)
        if key not in _OWN
    ]
    rest = [word for key, word in found if not key.lstrip("+").startswith("env.")]
    added = [word for key, word in found if key.lstrip("+").startswith("env.")]
    return (*chosen[1:], *rest), tuple(added)


def _differences(
    base: Mapping[str, Any], stored: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Settings that are stored with another value than the base has, by their paths."""
    for name, value in stored.items():
        below = base.get(name)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            yield from _differences(below, value, f"{prefix}{name}.")
        elif name not in base or value != below:
            yield f"{'' if name in base else '+'}{prefix}{name}", value


def _value(value: Any) -> str:
    """A value as Hydra reads it on a command line."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_value(one)}" for name, one in value.items()) + "}"
    return "[" + ",".join(_value(one) for one in value) + "]"
