"""Stops a training whose loss or gradient is not finite, before its weights are kept."""

import math
from collections.abc import Mapping
from pathlib import Path

from egodtm_robot.core.errors import TrainingDivergedError


def check_finite(
    values: Mapping[str, float], first: int, last: int, *, advice: str, states: Path
) -> None:
    """Refuse to go on from steps whose values are not finite.

    Args:
        values: losses and norms of gradients, of one step or means of several.
        first: first step that the values are of, counted from 1.
        last: last step that they are of.
        advice: what the user can do, as the beginning of a sentence: ``Lower the learning rate (it
            is 0.1)``.
        states: folder of the states to resume from.

    Raises:
        TrainingDivergedError: a value is infinite or not a number; all values are listed.
    """
    if all(math.isfinite(value) for value in values.values()):
        return
    listed = ", ".join(f"{name} {value:g}" for name, value in values.items())
    where = f"in step {last}" if first == last else f"between steps {first} and {last}"
    raise TrainingDivergedError(
        f"Expected finite losses and gradients, got {listed} {where}. {advice}; the last state "
        f"saved is in {states}."
    )
