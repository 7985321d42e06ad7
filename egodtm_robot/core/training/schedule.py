"""What happens at which step: pure functions of it, so that resuming needs no hidden state."""

import math
from typing import Literal

Schedule = Literal["cosine", "constant"]
"""Course of the learning rate after the warm-up: a cosine that falls to zero, or none."""


def rate_share(
    step: int, steps: int, *, warmup: float = 0.0, schedule: Schedule = "cosine"
) -> float:
    """The learning rate of the next step, as a share of the full rate.

    The share rises linearly during the warm-up and never starts at 0, so that no step is lost. The
    cosine is SGDR's without restarts (arXiv 1608.03983).

    Args:
        step: number of steps that were taken before, from 0 to ``steps - 1``.
        steps: number of steps of the whole run.
        warmup: share of the steps, in [0, 1), in which the rate rises.
        schedule: course of the rate after the warm-up.

    Returns:
        A number in (0, 1]; 1 at the first step after the warm-up.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    if schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def is_due(step: int, steps: int, every: int) -> bool:
    """Whether something that is done every ``every`` steps, and at the end, is due after ``step``.

    Args:
        step: number of steps that were taken, from 1 to ``steps``.
        steps: number of steps of the whole run.
        every: period in steps, 1 or more.
    """
    return step % every == 0 or step == steps
