"""The difference of two arms on the episodes that both have met."""

import numpy as np

from egodtm_robot.comparison.differences import PairedDifferences
from egodtm_robot.comparison.inference.estimate import (
    MeanEstimate,
    student_interval,
    student_p_value,
)
from egodtm_robot.comparison.inference.variance import variance_of


def paired_estimate(differences: PairedDifferences, confidence: float = 0.95) -> MeanEstimate:
    """Mean difference over conditions, with training and episodes as chance.

    Args:
        differences: of two arms.
        confidence: between 0 and 1.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    variance = variance_of(differences.conditions, differences.run_seeds, differences.values)
    value = float(np.mean([cell.mean() for cell in differences.values.values()]))
    error = float(np.sqrt(variance.squared_error))
    freedom = float(variance.degrees_of_freedom)
    share = float(variance.training_share)
    one = len(differences.run_seeds) == 1
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
        over="episodes" if one else "runs and episodes",
        conditions=len(differences.conditions),
        run_seeds=len(differences.run_seeds),
        episodes=sum(len(cell) for cell in differences.values.values()),
        confidence=confidence,
    )
