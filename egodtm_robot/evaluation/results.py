"""What a run leaves behind: ``results.json`` for programs, the same in words for people."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from egodtm_robot.core import run_folder
from egodtm_robot.core.errors import EgoDTMRobotError
from egodtm_robot.core.intervals import wilson_interval
from egodtm_robot.core.run_folder import RESULTS_FILE
from egodtm_robot.evaluation.outcomes import Outcome, read_outcomes

SCHEMA_VERSION = 1
FURTHER_LOOKS = "further_looks"
"""Key of the totals under other looks, in ``final``."""
EVALUATION = "evaluation"
"""Key in ``final`` that says that nothing was evaluated."""

_VERSIONED_PACKAGES = (
    "torch",
    "mujoco",
    "gymnasium",
    "gymnasium-robotics",
    "numpy",
    "transformers",
    "zarr",
    "stable-baselines3",
    "hydra-core",
)


class ResultsError(EgoDTMRobotError, ValueError):
    """A results file is missing, unreadable or of another schema."""


@dataclass
class RunResults:
    """The content of ``results.json``; every field is plain JSON.

    Attributes:
        env: name of the environment, e.g. ``franka_kitchen_microwave``.
        environment: its settings (randomization, visual, cameras, resolution, quality, horizon),
            the hash of its model, and ``preset_hashes``: by option and by the name of each preset
            that was met, a hash of what it draws.
        encoder: ``name`` and ``fingerprint`` (weights, preprocessing, reducer, code version).
        policy: name of the policy.
        protocol: name of the protocol.
        protocol_hash: of all that it stands for, see
            :func:`egodtm_robot.learning.protocol.protocol_hash`; empty in runs of before
            2026-11-26.
        seed: the run's seed.
        demos: ``path``, ``episodes``, ``fingerprint``, ``noise``, ``seed`` and ``attempted``.
        checkpoints: evaluated checkpoints, each ``step``, ``episodes``, ``successes``, over the
            selection seeds.
        best_checkpoint: step of the checkpoint that was evaluated finally.
        final: ``episodes``, ``successes``, ``success_rate`` and ``wilson95`` on fresh seeds, and
            ``outcomes``, the file beside this one with a row for each of them (runs of before
            2026-11-26 have none). Without an environment, what :func:`not_evaluated` gives. Where
            the policy met the same episodes under further looks,
            ``further_looks`` has the four numbers for each, and the rows are in the same file.
        timings_s: wall seconds of ``collect``, ``embed``, ``train`` and ``evaluate``.
        videos: files below the run's folder.
        r3m_success_rate: the largest success rate over all checkpoints, as R3M reports it; it is
            biased upwards (10 to 13 points for 20 checkpoints of 50 episodes) and only there to be
            set beside published figures. None for other protocols.
        versions: of the toolkit, Python and the packages that decide the outcome.
        reinforcement: how a policy of :mod:`egodtm_robot.train_rl` has learned: ``algorithm``,
            ``start``, ``steps`` of experience and the folder of the ``clone``; None for a policy
            that was cloned alone.
    """

    env: str
    environment: dict[str, Any]
    encoder: dict[str, Any]
    policy: str
    protocol: str
    seed: int
    demos: dict[str, Any]
    checkpoints: list[dict[str, int]]
    best_checkpoint: int
    final: dict[str, Any]
    timings_s: dict[str, float]
    videos: list[str] = field(default_factory=list)
    r3m_success_rate: float | None = None
    protocol_hash: str = ""
    versions: dict[str, str] = field(default_factory=lambda: package_versions())
    schema_version: int = SCHEMA_VERSION
    reinforcement: dict[str, Any] | None = None

    def save(self, run_dir: Path) -> Path:
        """Writes ``results.json`` so that a reader sees the old file or the new, never a part."""
        run_folder.write_results(run_dir, dataclasses.asdict(self))
        return run_dir / RESULTS_FILE

    @classmethod
    def load(cls, run_dir: Path) -> "RunResults":
        """Reads a run's results.

        Raises:
            ResultsError: the file is missing, is not JSON, or has another schema.
        """
        path = run_dir / RESULTS_FILE
        if not path.is_file():
            raise ResultsError(f"Expected the results of a finished run at {path}; no such file.")
        try:
            content = json.loads(path.read_text())
            version = content.get("schema_version")
        except (json.JSONDecodeError, AttributeError) as error:
            raise ResultsError(f"Expected JSON in {path}: {error}.") from error
        if version != SCHEMA_VERSION:
            raise ResultsError(
                f"Expected results of schema {SCHEMA_VERSION} in {path}, got {version!r}; "
                "read them with the version of the toolkit that wrote them."
            )
        try:
            return cls(**content)
        except TypeError as error:
            raise ResultsError(f"{path} lacks or has unknown fields: {error}.") from error


@dataclass(frozen=True)
class FinishedRun:
    """A run's results with the outcome of each of its final episodes.

    Attributes:
        results: the content of ``results.json``.
        outcomes: in order of looks, the training's first, and of episode seeds; None for a run of
            before outcomes were written.
        folder: that it lies in; None for results that were not read from one.
    """

    results: RunResults
    outcomes: tuple[Outcome, ...] | None = None
    folder: Path | None = None

    @classmethod
    def load(cls, run_dir: Path) -> "FinishedRun":
        """Reads a finished run.

        Raises:
            ResultsError: see :meth:`RunResults.load`; or totals and rows disagree.
            OutcomesError: the rows that the results name cannot be read.
        """
        results = RunResults.load(run_dir)
        if EVALUATION in results.final:
            raise ResultsError(
                f"Expected a run with evaluated episodes at {run_dir}, but nothing was evaluated "
                f"there: {results.final['reason']}. Compare runs that name an environment."
            )
        name = results.final.get("outcomes")
        if name is None:
            return cls(results, None, run_dir)
        outcomes = read_outcomes(run_dir / name)
        further = results.final.get(FURTHER_LOOKS, {})
        by_look: dict[str | None, list[bool]] = {look: [] for look in (None, *further)}
        for outcome in outcomes:
            by_look[outcome.look if outcome.look in further else None].append(outcome.success)
        for look, found in by_look.items():
            totals = further[look] if look else results.final
            expected = (totals["episodes"], totals["successes"])
            if (len(found), sum(found)) != expected:
                raise ResultsError(
                    f"Expected {expected[1]} successes of {expected[0]} episodes in "
                    f"{run_dir / name}{f' under the look {look}' if look else ''}, as "
                    f"{RESULTS_FILE} says, got {sum(found)} of {len(found)}. Evaluate again."
                )
        return cls(results, outcomes, run_dir)


def success_summary(episodes: int, successes: int) -> dict[str, Any]:
    """Successes of a number of episodes with their rate and Wilson 95 % interval."""
    low, high = wilson_interval(successes, episodes)
    return {
        "episodes": episodes,
        "successes": successes,
        "success_rate": successes / episodes,
        "wilson95": [low, high],
    }


def not_evaluated(
    reason: str, train_loss: float | None, validation_loss: float | None
) -> dict[str, Any]:
    """The ``final`` of a run without episodes: ``evaluation`` is "none", and why; the losses.

    Args:
        reason: why nothing was evaluated.
        train_loss: of the run's policy, None for a policy that takes no gradient steps.
        validation_loss: over held-out demonstrations, None without any.
    """
    return {
        EVALUATION: "none",
        "reason": reason,
        "train_loss": train_loss,
        "validation_loss": validation_loss,
    }


def package_versions() -> dict[str, str]:
    """Versions of everything that decides a run's outcome."""
    return run_folder.package_versions(_VERSIONED_PACKAGES)


def describe(results: RunResults, run_dir: Path) -> str:
    """The run in words: the last lines that a person sees."""
    final = results.final
    timings = results.timings_s
    total = sum(timings.values())
    spent = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in timings.items())
    demos = results.demos
    if EVALUATION in final:
        losses = [
            f"{name.removesuffix('_loss')} {final[name]:.4f}"
            for name in ("train_loss", "validation_loss")
            if final[name] is not None
        ]
        return "\n".join(
            [
                "",
                f"{results.env}: not evaluated, because {final['reason']}",
                f"  loss: {', '.join(losses) or 'none'}",
                f"  encoder {results.encoder['name']} ({results.encoder['fingerprint']}), "
                f"policy {results.policy}, protocol {results.protocol}, seed {results.seed}",
                f"  {demos['episodes']} demonstrations of {demos['path']}",
                f"  time {_duration(total)}: {spent}",
                f"  {run_dir / RESULTS_FILE}",
            ]
        )
    low, high = final["wilson95"]
    lines = [
        "",
        f"{results.env}: {final['success_rate']:.1%} success",
        f"  {final['successes']} of {final['episodes']} fresh episodes, "
        f"95 % interval {low:.1%} to {high:.1%} (Wilson)",
        f"  encoder {results.encoder['name']} ({results.encoder['fingerprint']}), "
        f"policy {results.policy}, protocol {results.protocol}, seed {results.seed}",
        f"  {demos['episodes']} demonstrations ({demos['attempted']} attempted), "
        f"resets {results.environment['randomization']}, look {results.environment['visual']}",
        f"  time {_duration(total)}: {spent}",
    ]
    for look, totals in final.get(FURTHER_LOOKS, {}).items():
        low, high = totals["wilson95"]
        lines.insert(
            3,
            f"  look {look}: {totals['success_rate']:.1%}, {totals['successes']} of the same "
            f"{totals['episodes']} episodes, 95 % interval {low:.1%} to {high:.1%}",
        )
    if results.r3m_success_rate is not None:
        lines.append(
            f"  maximum over checkpoints as R3M reports it: {results.r3m_success_rate:.1%} "
            "(biased upwards)"
        )
    lines += [f"  {run_dir / name}" for name in [RESULTS_FILE, *results.videos]]
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"
