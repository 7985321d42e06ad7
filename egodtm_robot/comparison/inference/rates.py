"""The success rate of one arm, and the difference of two that share no episodes."""

import numpy as np

from egodtm_robot.comparison.arms import Arm, Condition
from egodtm_robot.comparison.inference.estimate import (
    MeanEstimate,
    student_interval,
    student_p_value,
)
from egodtm_robot.comparison.inference.variance import Variance, variance_of
from egodtm_robot.core.errors import EgoDTMRobotError


class IncompleteArmError(EgoDTMRobotError, ValueError):
    """No run seed of an arm has a run under every condition."""


def success_rate_estimate(arm: Arm, confidence: float = 0.95) -> MeanEstimate:
    """Mean success rate over conditions, with training and episodes as chance.

    It takes the run seeds that the arm has under every condition.

    Args:
        arm: with at least one run seed that has a run under every condition.
        confidence: between 0 and 1.

    Raises:
        IncompleteArmError: there is no such run seed.
        ValueError: the confidence is not between 0 and 1.
    """
    value, variance, seeds, conditions, episodes = _mean(arm)
    return _estimate(value, variance, seeds, conditions, episodes, confidence)


def unpaired_estimate(first: Arm, second: Arm, confidence: float = 0.95) -> MeanEstimate:
    """Difference of two mean success rates of arms that share no episodes.

    Args:
        first: see :func:`success_rate_estimate`.
        second: likewise, under the same conditions.
        confidence: between 0 and 1.

    Raises:
        IncompleteArmError: an arm has no run seed that has a run under every condition.
        ValueError: the confidence is not between 0 and 1.
    """
    one, other = _mean(first), _mean(second)
    parts = (one[1], other[1])
    total = sum(float(part.squared_error) for part in parts)
    # Welch's approximation.
    freedom = (
        total**2
        / sum(float(part.squared_error) ** 2 / float(part.degrees_of_freedom) for part in parts)
        if total
        else np.inf
    )
    share = sum(float(p.squared_error * p.training_share) for p in parts) / total if total else 0.0
    joint = Variance(
        np.float64(total),  # type: ignore[arg-type]
        np.float64(freedom),  # type: ignore[arg-type]
        parts[0].training + parts[1].training,
        parts[0].episode + parts[1].episode,
        np.float64(share),  # type: ignore[arg-type]
    )
    return _estimate(
        one[0] - other[0], joint, min(one[2], other[2]), one[3], one[4] + other[4], confidence
    )


def _mean(arm: Arm) -> tuple[float, Variance, int, int, int]:
    runs = {(run.condition, run.run_seed): run.success.astype(np.float64) for run in arm.runs}
    conditions: list[Condition] = sorted({condition for condition, _ in runs})
    seeds = sorted(
        {seed for _, seed in runs if all((condition, seed) in runs for condition in conditions)}
    )
    if not seeds:
        raise IncompleteArmError(
            f"Expected a run seed of {arm.name!r} with a run under each of its {len(conditions)} "
            "conditions, got none. Train what is missing, or leave a condition out."
        )
    cells = {(condition, seed): runs[condition, seed] for condition in conditions for seed in seeds}
    value = float(np.mean([cell.mean() for cell in cells.values()]))
    episodes = sum(len(cell) for cell in cells.values())
    return value, variance_of(conditions, seeds, cells), len(seeds), len(conditions), episodes


def _estimate(
    value: float,
    variance: Variance,
    seeds: int,
    conditions: int,
    episodes: int,
    confidence: float,
) -> MeanEstimate:
    error = float(np.sqrt(variance.squared_error))
    freedom = float(variance.degrees_of_freedom)
    share = float(variance.training_share)
    return MeanEstimate(
        value=value,
        interval=student_interval(value, error, freedom, confidence),
        p_value=student_p_value(value, error, freedom),
        standard_error=error,
        degrees_of_freedom=freedom,
        training_share=share,
        episode_share=1 - share,
        training_variance=float(variance.training),
        episode_variance=float(variance.episode),
        over="episodes" if seeds == 1 else "runs and episodes",
        conditions=conditions,
        run_seeds=seeds,
        episodes=episodes,
        confidence=confidence,
    )
