"""Finished runs in folders: their final episodes, and what they were measured under."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from egodtm_robot.comparison.arms import Condition, RunEpisodes
from egodtm_robot.comparison.provenance import Provenance
from egodtm_robot.core.configuration import from_mapping
from egodtm_robot.core.errors import EgoDTMRobotError
from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.core.run_folder import CONFIG_FILE
from egodtm_robot.core.seeding import Split
from egodtm_robot.evaluation.outcomes import Outcome
from egodtm_robot.evaluation.results import RESULTS_FILE, FinishedRun
from egodtm_robot.learning.protocol import ProtocolConfig, protocol_hash

_TIMINGS = "timings.json"
_NOT_OF_AN_ARM = ("seed", "run_dir", "device", "workers", "environments", "videos")
_OF_A_TASK = ("_target_", "kind", "task")


def run_folders(path: Path) -> list[Path]:
    """Folders of finished runs of the main job at a path or below it, in order.

    Results of other commands, which have files of the same name, are passed over.
    """
    folders = []
    for file in sorted(path.rglob(RESULTS_FILE)):
        try:
            content = json.loads(file.read_bytes())
        except ValueError:
            content = {"env": None, "final": None}  # the reader of results says what is wrong
        if isinstance(content, dict) and {"env", "final"} <= content.keys():
            folders.append(file.parent)
    return folders


def episodes_of(run: FinishedRun) -> tuple[RunEpisodes, ...]:
    """The final episodes of a run, one entry for each condition that it met.

    A run of before outcomes were written has totals alone, and no episode seeds.
    """
    results = run.results
    provenance, settings = run_provenance(run), _arm_settings(run)
    if run.outcomes is None:
        success = np.zeros(results.final["episodes"], dtype=bool)
        # In an order that means nothing: totals do not say which episodes were solved.
        success[: results.final["successes"]] = True
        look = str(results.environment.get("visual", ""))
        resets = str(results.environment.get("randomization", ""))
        entries = [RunEpisodes(Condition(results.env, look, resets), results.seed, None, success)]
    else:
        by_condition: dict[Condition, list[Outcome]] = {}
        for outcome in run.outcomes:
            condition = Condition(outcome.environment, outcome.look, outcome.resets)
            by_condition.setdefault(condition, []).append(outcome)
        entries = [_episodes(condition, rows) for condition, rows in sorted(by_condition.items())]
    return tuple(
        replace(
            entry,
            source=run.folder,
            provenance=provenance,
            scene=str(results.environment.get("model_hash", "")),
            checkpoint_maximum=results.r3m_success_rate,
            settings=settings,
            features=str(results.encoder.get("fingerprint", "")),
        )
        for entry in entries
    )


def unfinished_runs(path: Path) -> list[Path]:
    """Folders of runs below a path that have begun and left no results."""
    if not path.is_dir():
        return []
    return sorted(
        file.parent for file in path.rglob(_TIMINGS) if not (file.parent / RESULTS_FILE).is_file()
    )


def run_provenance(run: FinishedRun) -> Provenance:
    """What a run was measured under, of its ``config.yaml`` and ``results.json``."""
    results = run.results
    toolkit = str(results.versions.get("egodtm-robot", ""))
    mujoco = results.versions.get("mujoco", "")
    simulator = f"mujoco {mujoco}" if mujoco else ""
    settings = results.protocol_hash or _settings_hash(run)
    return Provenance(results.protocol, settings, toolkit, simulator)


def _arm_settings(run: FinishedRun) -> str:
    """What :attr:`RunEpisodes.settings` holds; empty where the folder has no ``config.yaml``."""
    if run.folder is None:
        return ""
    try:
        config = yaml.safe_load((run.folder / CONFIG_FILE).read_text(encoding="utf-8"))
        decisive = {name: one for name, one in config.items() if name not in _NOT_OF_AN_ARM}
        env = {name: one for name, one in config["env"].items() if name not in _OF_A_TASK}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, AttributeError):
        return ""
    return hash_parts(json.dumps({**decisive, "env": env}, sort_keys=True, default=str))


def _settings_hash(run: FinishedRun) -> str:
    """The protocol's hash of a run of before results had it; empty where it is not known."""
    protocol = None if run.folder is None else _protocol(run.folder)
    if protocol is None:
        return ""
    demos = {name: run.results.demos.get(name) for name in ("episodes", "noise", "seed")}
    split: Split = "tuning" if run.results.final.get("split") == "tuning" else "final"
    return protocol_hash(protocol, demos, split)


def _protocol(run_dir: Path) -> ProtocolConfig | None:
    """The protocol's settings; None where they are not there, or were others in that version."""
    try:
        config = yaml.safe_load((run_dir / CONFIG_FILE).read_text(encoding="utf-8"))
        return from_mapping(ProtocolConfig, config["protocol"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, EgoDTMRobotError):
        return None


def _episodes(condition: Condition, rows: Sequence[Outcome]) -> RunEpisodes:
    rows = sorted(rows, key=lambda row: row.episode_seed)
    progress = [row.progress for row in rows]
    return RunEpisodes(
        condition=condition,
        run_seed=rows[0].run_seed,
        episode_seeds=np.array([row.episode_seed for row in rows], np.int64),
        success=np.array([row.success for row in rows], bool),
        progress=None if None in progress else np.array(progress, np.float64),
        solved_step=np.array(
            [np.nan if row.solved_step is None else row.solved_step for row in rows], np.float64
        ),
        steps=np.array([row.steps for row in rows], np.int64),
    )
