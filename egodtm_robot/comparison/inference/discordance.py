"""Two policies of one run seed each on the same episodes: exact test and score interval."""

import math

from scipy import special

from egodtm_robot.core.intervals import Interval


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """McNemar's exact test that two success rates on the same episodes are equal.

    Episodes that both policies solve, or neither, say nothing. Of the others half should go to
    each (McNemar, Psychometrika 1947; exact by the binomial distribution). It knows of one source
    of chance, the episodes: it compares two trained policies, not two ways of training.

    Args:
        only_first: episodes that the first policy alone solved.
        only_second: episodes that the second policy alone solved.

    Returns:
        The two-sided p-value.

    Raises:
        ValueError: a count is negative.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"Expected counts of 0 or more, got {only_first} and {only_second}.")
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    tail = special.bdtr(min(only_first, only_second), discordant, 0.5)
    return min(1.0, 2 * float(tail))


def tango_interval(
    both: int, only_first: int, only_second: int, neither: int, confidence: float = 0.95
) -> Interval:
    """Score interval of the difference of two success rates on the same episodes.

    It keeps its level for few episodes and few discordant ones (Tango, Statistics in Medicine
    1998). Like :func:`mcnemar_exact` it compares two trained policies.

    Args:
        both: episodes that both policies solved.
        only_first: episodes that the first policy alone solved.
        only_second: episodes that the second policy alone solved.
        neither: episodes that neither solved.
        confidence: between 0 and 1.

    Returns:
        Ends of the interval of the first rate minus the second, within [-1, 1].

    Raises:
        ValueError: a count is negative, there are no episodes, or the confidence is out of range.
    """
    counts = (both, only_first, only_second, neither)
    episodes = sum(counts)
    if min(counts) < 0 or episodes == 0:
        raise ValueError(f"Expected counts of 0 or more and at least one episode, got {counts}.")
    if not 0 < confidence < 1:
        raise ValueError(f"Expected a confidence between 0 and 1, got {confidence}.")
    z = float(special.ndtri(0.5 + confidence / 2))

    def score(difference: float) -> float:
        """Standardized distance of the observed difference from a supposed one."""
        # Restricted maximum likelihood of the share that the second policy alone solves.
        a = 2 * episodes
        b = -only_first - only_second + (2 * episodes - only_first + only_second) * difference
        c = -only_second * difference * (1 - difference)
        share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = episodes * (2 * share + difference * (1 - difference))
        distance = only_first - only_second - episodes * difference
        if variance <= 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / math.sqrt(variance)

    observed = (only_first - only_second) / episodes
    # The score falls as the supposed difference rises.
    low = -1.0 if score(-1.0) <= z else _crossing(score, z, -1.0, observed)
    high = 1.0 if score(1.0) >= -z else _crossing(score, -z, observed, 1.0)
    return Interval(low, high)


def _crossing(score, level: float, low: float, high: float) -> float:  # type: ignore[no-untyped-def]
    for _ in range(60):
        middle = (low + high) / 2
        if score(middle) > level:
            low = middle
        else:
            high = middle
    return (low + high) / 2
