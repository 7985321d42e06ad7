"""Where the numbers of a page come from: protocol, code, machines, seeds and commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from egodtm_robot.comparison.arms import Arm
from egodtm_robot.comparison.comparison import Comparison
from egodtm_robot.comparison.report.commands import training_commands
from egodtm_robot.comparison.report.learning_curves import Curve
from egodtm_robot.comparison.report.parts import UNKNOWN, Table, counted, listed
from egodtm_robot.comparison.report.run_records import RunRecord

_HOUR = 3600


@dataclass(frozen=True)
class ArmSource:
    """Where an arm comes from.

    Attributes:
        name: of the arm.
        text: its runs in words.
        commands: that train them again; empty where they cannot be told.
    """

    name: str
    text: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class RunProvenance:
    """The part of the page on provenance.

    Attributes:
        facts: what holds for the whole comparison.
        versions: of the code and the packages.
        environments: what the policies met and learned from.
        arms: where each comes from.
        without_folder: names of arms that were read from files of rows, of which no more is known.
    """

    facts: Table
    versions: Table
    environments: Table
    arms: tuple[ArmSource, ...]
    without_folder: tuple[str, ...]


def run_provenance(
    arms: Sequence[Arm],
    comparison: Comparison,
    records: Mapping[str, Sequence[RunRecord]],
    losses: Mapping[Path, Curve],
) -> RunProvenance:
    """Everything that is known of the runs of a comparison.

    Args:
        arms: with the episodes that the comparison was made of.
        comparison: of the arms.
        records: of each arm's runs.
        losses: curves of the runs, which know when they were trained.
    """
    every = [record for found in records.values() for record in found]
    by_name = {arm.name: arm for arm in arms}
    commands = training_commands(records)
    return RunProvenance(
        facts=_facts(arms, comparison, every, losses),
        versions=_versions(every),
        environments=_environments(every),
        arms=tuple(
            _source(by_name[one.name], records.get(one.name, ()), commands.get(one.name, ()))
            for one in comparison.arms
        ),
        without_folder=tuple(arm.name for arm in arms if not records.get(arm.name)),
    )


def _facts(
    arms: Sequence[Arm],
    comparison: Comparison,
    records: Sequence[RunRecord],
    losses: Mapping[Path, Curve],
) -> Table:
    seeds = sorted({run.run_seed for arm in arms for run in arm.runs})
    episodes = sum(len(run.success) for arm in arms for run in arm.runs)
    runs = sum(len(arm.runs) for arm in arms)
    splits = sorted({str(record.results.final.get("split", "final")) for record in records})
    rows = [
        ("comparison", comparison.fingerprint),
        ("protocol", _protocols(comparison)),
        ("run seeds", ", ".join(map(str, seeds))),
        ("episodes", f"{counted(episodes, 'episode')} of {counted(runs, 'run')}"),
        ("split of the episodes", listed(splits) or "not known"),
        ("confidence", f"{100 * comparison.confidence:g} %"),
        ("margin of equality", f"{100 * comparison.margin:g} points"),
        ("correction", f"{comparison.correction}, {counted(len(comparison.pairs), 'pair')}"),
    ]
    spent = sum(sum(record.results.timings_s.values()) for record in records)
    if spent:
        rows.append(("time of all runs", f"{spent / _HOUR:.1f} hours"))
    times = [curve.times for record in records if (curve := losses.get(record.folder)) is not None]
    if times:
        first, last = min(one.min() for one in times), max(one.max() for one in times)
        days = dict.fromkeys(
            datetime.fromtimestamp(moment, UTC).date().isoformat() for moment in (first, last)
        )
        rows.append(("trained", f"{' to '.join(days)} (UTC)"))
    return Table("The whole comparison", ("what", "value"), tuple(rows))


def _protocols(comparison: Comparison) -> str:
    texts = [str(one).removeprefix("protocol ") for one in comparison.provenance]
    return "; ".join(texts) or "not known"


def _versions(records: Sequence[RunRecord]) -> Table:
    names = list(dict.fromkeys(name for one in records for name in one.results.versions))
    rows = tuple((name, _values(one.results.versions.get(name) for one in records))
                 for name in names)  # fmt: skip
    return Table("Code and machine; several values where runs differ", ("what", "version"), rows)


def _environments(records: Sequence[RunRecord]) -> Table:
    rows = []
    for environment in dict.fromkeys(record.results.env for record in records):
        own = [record.results for record in records if record.results.env == environment]
        rows.append(
            (
                environment,
                _values(_settings(one.environment) for one in own),
                _values(one.environment.get("model_hash") for one in own),
                _values(one.demos.get("episodes") for one in own),
                _values(one.demos.get("fingerprint") for one in own),
            )
        )
    head = ("environment", "settings", "model hash", "demonstrations", "their fingerprint")
    return Table("What the policies met and learned from", head, tuple(rows))


def _settings(environment: Mapping[str, Any]) -> str:
    hidden = ("_kind_", "_target_", "task", "model_hash")
    return ", ".join(
        f"{name} {'+'.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in environment.items()
        if name not in hidden and value is not None
    )


def _source(arm: Arm, records: Sequence[RunRecord], commands: tuple[str, ...]) -> ArmSource:
    if not records:
        files = sorted({run.source.name for run in arm.runs if run.source is not None})
        where = f"Rows of {listed(files)}." if files else "Rows without a source."
        return ArmSource(arm.name, f"{counted(len(arm.runs), 'run')}. {where}", ())
    encoders = _values(one.results.encoder.get("name") for one in records)
    fingerprints = _values(one.results.encoder.get("fingerprint") for one in records)
    policies = _values(one.results.policy for one in records)
    checkpoints = _values(one.results.best_checkpoint for one in records)
    text = (
        f"{counted(len(records), 'run')}, run seeds "
        f"{', '.join(map(str, sorted({one.results.seed for one in records})))}. "
        f"Encoder {encoders} (fingerprint of features {fingerprints}), policy {policies}, "
        f"checkpoint of step {checkpoints}."
    )
    return ArmSource(arm.name, text, commands)


def _values(values: Any) -> str:
    """Different values in the order of their first appearance."""
    return "; ".join(dict.fromkeys(str(value) for value in values if value is not None)) or UNKNOWN
