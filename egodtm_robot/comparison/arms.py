"""What is compared: the final episodes of training runs, as arms of a comparison."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from egodtm_robot.comparison.provenance import Provenance
from egodtm_robot.core.errors import EgoDTMRobotError

ConditionPart = Literal["look", "resets"]
"""What of a condition arms may be split by."""

CONDITION_PARTS: tuple[ConditionPart, ...] = ("look", "resets")


class ArmsError(EgoDTMRobotError, ValueError):
    """There are no arms where they were looked for, or an arm has a run twice."""


@dataclass(frozen=True, order=True)
class Condition:
    """What policies met; a column of a table.

    Attributes:
        environment: its name, such as ``franka_kitchen_microwave``.
        look: name of the visual preset.
        resets: name of the preset of resets.
    """

    environment: str
    look: str
    resets: str


@dataclass(frozen=True, eq=False)
class RunEpisodes:
    """The final episodes of one training run under one condition.

    Attributes:
        condition: what the policy met.
        run_seed: seed of the training run.
        episode_seeds: int64 (n,), ascending; None for results that lack rows of outcomes, which
            cannot be paired.
        success: bool (n,).
        progress: float64 (n,), the largest progress towards the goal, in [0, 1]; None where the
            environment reports none.
        solved_step: float64 (n,), steps after which the task was first solved, NaN where it never
            was; None if that is not known.
        steps: int64 (n,), steps taken; None if that is not known.
        source: folder of the run, or the file that the episodes were read from.
        provenance: what it was measured under; None if that is not known.
        scene: hash of everything that moves in the environment's model; empty if that is not known.
        checkpoint_maximum: the largest success rate over all checkpoints, as R3M reports it, in
            [0, 1]; None unless the protocol asks for it.
        settings: hash of all that decided the training but its task and run seed; empty if that is
            not known.
        features: fingerprint of the encoder with its reduction, which is fitted to the
            demonstrations of a task; empty if it is not known.
    """

    condition: Condition
    run_seed: int
    episode_seeds: NDArray[np.int64] | None
    success: NDArray[np.bool_]
    progress: NDArray[np.float64] | None = None
    solved_step: NDArray[np.float64] | None = None
    steps: NDArray[np.int64] | None = None
    source: Path | None = None
    provenance: Provenance | None = None
    scene: str = ""
    checkpoint_maximum: float | None = None
    settings: str = ""
    features: str = ""


@dataclass(frozen=True, eq=False)
class Arm:
    """What is compared with another: an encoder, a policy, anyone's method.

    Attributes:
        name: in tables.
        runs: its training runs, at most one for each condition and run seed.
    """

    name: str
    runs: tuple[RunEpisodes, ...]


def make_arm(name: str, runs: Iterable[RunEpisodes]) -> Arm:
    """An arm of runs, each of another condition or run seed, in their order.

    Args:
        name: of the arm.
        runs: in any order.

    Raises:
        ArmsError: two have the same condition and run seed.
    """
    ordered = sorted(runs, key=lambda run: (run.condition, run.run_seed))
    for first, second in itertools.pairwise(ordered):
        if (first.condition, first.run_seed) == (second.condition, second.run_seed):
            raise ArmsError(
                f"Expected one run of {name} for {first.condition.environment} (look "
                f"{first.condition.look}, resets {first.condition.resets}) and run seed "
                f"{first.run_seed}, got those in {first.source} and {second.source}. Name a "
                "narrower folder, or compare the two as different arms."
            )
    return Arm(name, tuple(ordered))


def align_arms(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """Make arms comparable of which each has met environments under a look of its own.

    The look is taken out of the condition, so that episodes are paired by their seeds. Arms that
    have met each environment under the same look, or one of them under several, stay as they are.
    Resets likewise.

    Args:
        arms: any.
    """
    aligned = tuple(arms)
    for part in CONDITION_PARTS:
        together = Arm("", tuple(run for arm in aligned for run in arm.runs))
        if met_several([together], part) and not met_several(aligned, part):
            aligned = tuple(
                Arm(arm.name, tuple(_without(run, part) for run in arm.runs)) for arm in aligned
            )
    return aligned


def met_several(arms: Sequence[Arm], part: ConditionPart) -> bool:
    """Whether an arm has met an environment under several looks or resets.

    Args:
        arms: any.
        part: of the condition.
    """
    for arm in arms:
        met = {(run.condition.environment, getattr(run.condition, part)) for run in arm.runs}
        if len({environment for environment, _ in met}) < len(met):
            return True
    return False


def _without(run: RunEpisodes, part: ConditionPart) -> RunEpisodes:
    return replace(run, condition=replace(run.condition, **{part: ""}))


def split_arms(arms: Sequence[Arm], by: ConditionPart) -> tuple[Arm, ...]:
    """Make arms of what differs in a part of the condition, to be compared with one another.

    The same policies under two looks are then two arms, ``egodtm (varied)`` and ``egodtm
    (shifted)``, which are paired on their episode seeds: the loss through the shift is the
    difference. Where each arm has one look, arms keep their names.

    Args:
        arms: any.
        by: the part of the condition; it is empty in the conditions of what is returned.
    """
    found = []
    several = any(len({getattr(run.condition, by) for run in arm.runs}) > 1 for arm in arms)
    for arm in arms:
        for value in sorted({str(getattr(run.condition, by)) for run in arm.runs}):
            runs = tuple(
                _without(run, by) for run in arm.runs if getattr(run.condition, by) == value
            )
            found.append(Arm(f"{arm.name} ({value})" if several else arm.name, runs))
    return tuple(found)
