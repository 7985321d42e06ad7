"""Differences between two arms on the episodes that both have met."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from egodtm_robot.comparison.arms import Arm, Condition, RunEpisodes
from egodtm_robot.core.errors import EgoDTMRobotError

Measure = Literal["success", "progress", "time"]
"""What of an episode is compared. ``time`` is the number of steps until the task was first solved,
or the number of steps taken where it never was."""


class PairingError(EgoDTMRobotError, ValueError):
    """Two arms have no episodes in common, or lack what is to be compared."""


@dataclass(frozen=True, eq=False)
class PairedDifferences:
    """The first arm minus the second on each shared condition, run seed and episode seed.

    Attributes:
        conditions: those that both arms have, in order.
        run_seeds: those that both arms have under every one of these conditions, ascending.
        values: float64 (n,) by condition and run seed; for successes -1, 0 or 1.
        episode_seeds: int64 (n,), ascending, likewise.
    """

    conditions: tuple[Condition, ...]
    run_seeds: tuple[int, ...]
    values: Mapping[tuple[Condition, int], NDArray[np.float64]]
    episode_seeds: Mapping[tuple[Condition, int], NDArray[np.int64]]


def pair(first: Arm, second: Arm, measure: Measure = "success") -> PairedDifferences:
    """Subtract the second arm from the first on every episode that both have met.

    Two policies met the same episode if condition, run seed and episode seed are the same. What
    makes an episode easy or hard for both cancels in the difference.

    Args:
        first: such as the new method.
        second: such as the reference.
        measure: what is compared.

    Raises:
        PairingError: the arms share no condition, no run seed under all shared conditions, or no
            episode of a shared run; or a run lacks its episode seeds or the measure.
    """
    runs = [{(run.condition, run.run_seed): run for run in arm.runs} for arm in (first, second)]
    conditions = [{condition for condition, _ in of_arm} for of_arm in runs]
    shared = tuple(sorted(conditions[0] & conditions[1]))
    names = f"{first.name!r} and {second.name!r}"
    if not shared:
        raise PairingError(
            f"Expected {names} to share a condition (environment, look and resets), but the first "
            f"has {_listed(conditions[0])} and the second {_listed(conditions[1])}. Evaluate both "
            "under the same conditions."
        )
    by_condition = {
        condition: [{seed for one, seed in of_arm if one == condition} for of_arm in runs]
        for condition in shared
    }
    seeds = set.intersection(*(one & other for one, other in by_condition.values()))
    if not seeds:
        raise PairingError(
            f"Expected {names} to share a run seed under every condition, but they have "
            + "; ".join(
                f"{sorted(one)} and {sorted(other)} under {_name(condition)}"
                for condition, (one, other) in by_condition.items()
            )
            + ". Train both with the same run seeds, or compare them unpaired."
        )
    values, episodes = {}, {}
    for condition in shared:
        for seed in sorted(seeds):
            one, other = (of_arm[condition, seed] for of_arm in runs)
            place = f"run seed {seed} under {_name(condition)}"
            ours, theirs = _episodes(one, first, place), _episodes(other, second, place)
            common, *rows = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
            if not len(common):
                raise PairingError(
                    f"Expected {names} to share episodes for {place}, but the first has the "
                    f"seeds {_range(ours)} and the second {_range(theirs)}. Evaluate both on "
                    "the same episode seeds, or compare them unpaired."
                )
            measured = [
                _measured(run, measure, arm, place)[row]
                for run, arm, row in zip((one, other), (first, second), rows, strict=True)
            ]
            values[condition, seed] = measured[0] - measured[1]
            episodes[condition, seed] = common
    return PairedDifferences(shared, tuple(sorted(seeds)), values, episodes)


def _episodes(run: RunEpisodes, arm: Arm, place: str) -> NDArray[np.int64]:
    if run.episode_seeds is None:
        raise PairingError(
            f"Expected the episode seeds of {arm.name!r} for {place}, but its results{_of(run)} "
            "hold totals alone. Evaluate the run again, or compare the arms unpaired."
        )
    if len(np.unique(run.episode_seeds)) != len(run.episode_seeds):
        raise PairingError(
            f"Expected each episode seed of {arm.name!r} once for {place}, got one{_of(run)} "
            "several times. Give each training run a run seed of its own."
        )
    return run.episode_seeds


def _measured(run: RunEpisodes, measure: Measure, arm: Arm, place: str) -> NDArray[np.float64]:
    if measure == "success":
        return run.success.astype(np.float64)
    if measure == "progress" and run.progress is not None:
        return run.progress
    if measure == "time" and run.solved_step is not None and run.steps is not None:
        return np.where(np.isnan(run.solved_step), run.steps, run.solved_step)
    raise PairingError(
        f"Expected {measure} of each episode of {arm.name!r} for {place}, but its "
        f"results{_of(run)} do not hold it. Compare successes instead."
    )


def _of(run: RunEpisodes) -> str:
    return "" if run.source is None else f" in {run.source}"


def _name(condition: Condition) -> str:
    return f"{condition.environment} (look {condition.look}, resets {condition.resets})"


def _listed(conditions: set[Condition]) -> str:
    return ", ".join(_name(condition) for condition in sorted(conditions)) or "none"


def _range(seeds: NDArray[np.int64]) -> str:
    return f"{seeds.min()} to {seeds.max()}" if len(seeds) else "none"
