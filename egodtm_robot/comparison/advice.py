"""What would make a difference surer: more run seeds or more episodes."""

import math

from scipy import special

from egodtm_robot.comparison.inference.estimate import MeanEstimate


def advice(first: str, second: str, difference: MeanEstimate, verdict: str, margin: float) -> str:
    """Say which part of the variance is whose, and what more of either would do.

    Args:
        first: name of an arm.
        second: name of the other one.
        difference: the first minus the second.
        verdict: on the pair.
        margin: difference below which arms count as equal.
    """
    pair = f"{first} against {second}"
    if difference.over == "episodes":
        return (
            f"{pair}: one run seed cannot show how much training again would change. Add run seeds "
            "before anything else."
        )
    training = difference.training_share
    if math.isnan(training):
        return ""
    now = _half_width(difference, 1, 1)
    seeds, episodes = _half_width(difference, 2, 1), _half_width(difference, 1, 2)
    parts = (
        f"{pair}: {training:.0%} of the variance of this difference is training and "
        f"{1 - training:.0%} episodes. Twice the run seeds would bring its interval from "
        f"{_points(now)} to {_points(seeds)} points, twice the episodes to {_points(episodes)}"
    )
    if verdict != "undecided":
        return f"{parts}. It is decided ({verdict}), so neither is needed."
    # Twice the seeds cost at least as much as twice the episodes: the training comes on top.
    better = (
        "more run seeds" if seeds < 0.95 * episodes else "more episodes, which need no training,"
    )
    return f"{parts}: add {better} to decide it."


def _half_width(difference: MeanEstimate, seeds: float, episodes: float) -> float:
    """Of the interval with that many times the run seeds and the episodes of each run."""
    squared = difference.standard_error**2 / seeds
    squared *= difference.training_share + difference.episode_share / episodes
    number = difference.run_seeds * seeds
    freedom = difference.degrees_of_freedom * (number - 1) / (difference.run_seeds - 1)
    quantile = float(special.stdtrit(freedom, 0.5 + difference.confidence / 2))
    return quantile * math.sqrt(squared)


def _points(value: float) -> str:
    return f"±{100 * value:.1f}"
