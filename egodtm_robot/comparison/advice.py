"""What would make a difference surer: more run seeds or more episodes."""

import math

from scipy import special

from egodtm_robot.comparison.inference.estimate import MeanEstimate


def advice(
    first: str, second: str, difference: MeanEstimate, verdict: str, paired: bool = True
) -> str:
    """Say which part of the variance is whose, and what more of either would do.

    Args:
        first: name of an arm.
        second: name of the other one.
        difference: the first minus the second.
        verdict: on the pair.
        paired: whether the arms share their episodes.
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
    each = difference.episodes / (1 if paired else 2)
    now, seeds, episodes = (
        _half_width(difference, each, more_seeds, more_episodes)
        for more_seeds, more_episodes in ((1, 1), (2, 1), (1, 2))
    )
    parts = (
        f"{pair}: {100 * training:.0f} % of the variance of this difference is training and "
        f"{100 - 100 * training:.0f} % episodes. Twice the run seeds would bring its interval from "
        f"{_points(now)} to {_points(seeds)} points, twice the episodes to {_points(episodes)}"
    )
    if verdict != "undecided":
        return f"{parts}. It is decided ({verdict}), so neither is needed."
    # Twice the run seeds cost the training on top of the episodes, so they must be clearly better.
    better = (
        "more run seeds" if seeds < 0.85 * episodes else "more episodes, which need no training,"
    )
    return f"{parts}: add {better} to decide it."


def _half_width(difference: MeanEstimate, each: float, seeds: int, episodes: int) -> float:
    """Of the interval with that many times the run seeds and the episodes of each run.

    As :func:`~egodtm_robot.comparison.inference.estimate.half_width` has it, with the parts of the
    variance that were found. ``each`` is the number of episodes of an arm.
    """
    runs = difference.run_seeds
    within = difference.episode_variance * difference.conditions * runs / each
    # Where all run seeds meet the same episodes, what these have in common remains however many
    # run seeds there are; where each has its own, nothing does.
    common = max(difference.episode_error**2 - within / runs, 0.0) * runs / (runs - 1)
    by_episodes = (common + max(within - common, 0.0) / (runs * seeds)) / episodes
    training = max(difference.standard_error**2 - difference.episode_error**2, 0.0) / seeds
    freedom = difference.degrees_of_freedom * (runs * seeds - 1) / (runs - 1)
    upper = 0.5 + difference.confidence / 2
    over_runs = special.stdtrit(freedom, upper) * math.sqrt(training + by_episodes)
    return max(float(over_runs), float(special.ndtri(upper)) * math.sqrt(by_episodes))


def _points(value: float) -> str:
    return f"±{100 * value:.1f}"
