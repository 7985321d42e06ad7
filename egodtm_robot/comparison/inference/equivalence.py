"""Whether two arms are level, as a finding of its own."""

import math

from scipy import special

from egodtm_robot.comparison.inference.estimate import MeanEstimate


def equivalence_p_value(estimate: MeanEstimate, margin: float = 0.03) -> float:
    """P-value of the hypothesis that a difference is as large as a margin or larger.

    Two one-sided tests (Schuirmann, J. Pharmacokinetics and Biopharmaceutics 1987): one that the
    difference is at most ``-margin``, one that it is at least ``margin``. Both must be rejected, so
    the larger of the two counts. Arms that merely do not differ clearly are not level by this.

    Args:
        estimate: of the difference.
        margin: smallest difference that matters, stated before the results are seen; above 0.

    Raises:
        ValueError: the margin is not above 0.
    """
    if not margin > 0:
        raise ValueError(f"Expected a margin above 0, got {margin}.")
    nearer = margin - abs(estimate.value)
    if estimate.standard_error == 0:
        return 0.0 if nearer > 0 else 1.0
    if math.isnan(estimate.degrees_of_freedom):
        return math.nan
    return float(special.stdtr(estimate.degrees_of_freedom, -nearer / estimate.standard_error))
