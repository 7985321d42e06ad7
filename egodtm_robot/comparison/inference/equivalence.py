"""Whether two arms are level, as a finding of its own."""

import numpy as np

from egodtm_robot.comparison.inference.estimate import MeanEstimate, tail_probability


def equivalence_p_value(estimate: MeanEstimate, margin: float = 0.03) -> float:
    """P-value of the hypothesis that a difference is as large as a margin or larger.

    Two one-sided tests (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 1987): one of
    the hypothesis that the difference is at most ``-margin``, one that it is at least ``margin``.
    Both must be rejected, so the larger of the two p-values counts. Arms that merely do not differ
    clearly are not level by this.

    Args:
        estimate: of the difference.
        margin: smallest difference that matters, stated before the results are seen; above 0.

    Raises:
        ValueError: the margin is not above 0.
    """
    if not margin > 0:
        raise ValueError(f"Expected a margin above 0, got {margin}.")
    return float(
        tail_probability(
            margin - abs(estimate.value),
            estimate.standard_error,
            estimate.degrees_of_freedom,
            np.array(estimate.episode_error),
        )
    )
