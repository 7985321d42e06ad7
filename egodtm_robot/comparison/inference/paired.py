"""The difference of two arms on the episodes that both have met."""

import numpy as np

from egodtm_robot.comparison.differences import PairedDifferences
from egodtm_robot.comparison.inference.estimate import MeanEstimate, Size, difference_estimate
from egodtm_robot.comparison.inference.variance import variance_of


def paired_estimate(differences: PairedDifferences, confidence: float = 0.95) -> MeanEstimate:
    """Mean difference over conditions, with training and episodes as chance.

    With one run seed the interval is over episodes alone and says so (``over``).

    Args:
        differences: of two arms.
        confidence: between 0 and 1.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    conditions, seeds, values = differences.conditions, differences.run_seeds, differences.values
    cells = [values[condition, seed] for condition in conditions for seed in seeds]
    return difference_estimate(
        float(np.mean([cell.mean() for cell in cells])),
        variance_of(conditions, seeds, values, differences.episode_seeds),
        Size(len(conditions), len(seeds), sum(len(cell) for cell in cells)),
        confidence,
    )
