"""How many run seeds tell two success rates apart, and how many episodes each should have."""

import math

from scipy import special

_MOST_SEEDS = 100_000


def seeds_needed(
    difference: float,
    training_variance: float,
    episode_variance: float,
    episodes: int,
    power: float = 0.8,
    alpha: float = 0.05,
    paired: bool = True,
) -> int:
    """Run seeds of each arm with which a true difference is found.

    For the test of :func:`~egodtm_robot.comparison.inference.paired.paired_estimate`, or of
    :func:`~egodtm_robot.comparison.inference.rates.unpaired_estimate`.

    Args:
        difference: true difference of the mean success rates, not 0.
        training_variance: of the difference, as in
            :class:`~egodtm_robot.comparison.inference.estimate.MeanEstimate`; at least 0.
        episode_variance: likewise.
        episodes: of each run under each condition, at least 1.
        power: probability that the test finds the difference, between 0 and 1.
        alpha: level of the two-sided test, between 0 and 1.
        paired: whether the arms share run seeds and episodes, on which the variances depend.

    Returns:
        At least 2, since one run seed shows nothing of the chance in training.

    Raises:
        ValueError: a number is out of range, or 100,000 run seeds are not enough.
    """
    if not (
        difference != 0
        and 0 < power < 1
        and 0 < alpha < 1
        and episodes >= 1
        and min(training_variance, episode_variance) >= 0
    ):
        raise ValueError(
            "Expected a difference other than 0, variances of at least 0, at least one episode, "
            "and power and alpha between 0 and 1, got "
            f"{difference=}, {training_variance=}, {episode_variance=}, {episodes=}, {power=}, "
            f"{alpha=}."
        )
    deviation = math.sqrt(training_variance + episode_variance / episodes)
    effect = abs(difference) / deviation if deviation else math.inf

    def enough(seeds: int) -> bool:
        freedom = seeds - 1 if paired else 2 * (seeds - 1)
        center = effect * math.sqrt(seeds)
        if center > 30:
            # Certain, and beyond what the noncentral distribution is computed for.
            return center > 2 * special.stdtrit(freedom, 1 - alpha / 2)
        critical = special.stdtrit(freedom, 1 - alpha / 2)
        return bool(1 - special.nctdtr(freedom, center, critical) >= power)

    high = 2
    while not enough(high):
        high *= 2
        if high > _MOST_SEEDS:
            raise ValueError(f"Expected at most {_MOST_SEEDS:,} run seeds to be enough.")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return max(high, 2)


def best_episodes(training_variance: float, episode_variance: float, training_cost: float) -> float:
    """Episodes of a run under each condition that make a difference surest for a budget.

    A budget buys either more run seeds, each with a training and its episodes, or more episodes of
    each. The variance (training + episode / n) / seeds is smallest where n is the root of
    training_cost * episode / training (Cochran, Sampling Techniques, 1977, section 10.6).

    Args:
        training_variance: as in :func:`seeds_needed`.
        episode_variance: likewise.
        training_cost: what a training costs, in episodes; above 0.

    Returns:
        At least 1; infinite if training has no chance, so that one run seed is enough.

    Raises:
        ValueError: a variance is below 0, or the cost is not above 0.
    """
    if not (min(training_variance, episode_variance) >= 0 and training_cost > 0):
        raise ValueError(
            "Expected variances of at least 0 and a cost above 0, got "
            f"{training_variance=}, {episode_variance=}, {training_cost=}."
        )
    if training_variance == 0:
        return math.inf
    return max(1.0, math.sqrt(training_cost * episode_variance / training_variance))
