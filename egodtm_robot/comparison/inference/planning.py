"""How many run seeds tell two success rates apart."""

import math

from scipy import special

_MOST_SEEDS = 10_000


def seeds_needed(
    difference: float,
    training_variance: float,
    episode_variance: float,
    episodes: int,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """Run seeds of each arm after which a true difference is found with a probability.

    Args:
        difference: true difference of the mean success rates, not 0.
        training_variance: see :class:`~egodtm_robot.comparison.inference.estimate.MeanEstimate`.
        episode_variance: likewise.
        episodes: of each run under each condition.
        power: probability that the test finds the difference, between 0 and 1.
        alpha: level of the two-sided test.

    Raises:
        ValueError: a number is out of range.
    """
    if difference == 0 or not 0 < power < 1 or not 0 < alpha < 1 or episodes < 1:
        raise ValueError(
            "Expected a difference other than 0, power and alpha between 0 and 1 and at least one "
            f"episode, got {difference}, {power}, {alpha} and {episodes}."
        )
    deviation = math.sqrt(training_variance + episode_variance / episodes)
    for seeds in range(2, _MOST_SEEDS):
        critical = special.stdtrit(seeds - 1, 1 - alpha / 2)
        center = abs(difference) / deviation * math.sqrt(seeds) if deviation else math.inf
        if center == math.inf or 1 - special.nctdtr(seeds - 1, center, critical) >= power:
            return seeds
    raise ValueError(f"Expected fewer than {_MOST_SEEDS} run seeds to be enough.")
