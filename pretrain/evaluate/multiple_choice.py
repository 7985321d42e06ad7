"""The true caption among captions that differ from it only in action, direction or hand.

Recognising the object gives nothing here, so this tells whether a model has seen what happens.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from egodtm_robot.core.statistics import wilson_interval


def multiple_choice(video: np.ndarray, choices: Sequence[np.ndarray]) -> dict[str, Any] | None:
    """How often the true caption is nearest to its clip.

    Args:
        video: float (n, J), of length 1.
        choices: for each clip float (k, J), of length 1, the true caption first; clips with only
            the true one are left out.

    Returns:
        ``accuracy`` with ``wilson95``, ``questions``, the mean number of ``choices``, what
        ``chance`` gives, and what the texts alone give away: ``blind`` is the accuracy of the mean
        of all clips in place of each. None without a question. The true caption has to be strictly
        nearest.
    """
    mean = np.mean(video, axis=0, dtype=np.float64)
    correct = []
    blind = []
    numbers = []
    for clip, captions in zip(np.asarray(video, np.float64), choices, strict=True):
        if len(captions) < 2:
            continue
        seen, unseen = np.stack([clip, mean]) @ np.asarray(captions, np.float64).T
        correct.append(bool(seen[0] > seen[1:].max()))
        blind.append(bool(unseen[0] > unseen[1:].max()))
        numbers.append(len(captions))
    if not correct:
        return None
    low, high = wilson_interval(sum(correct), len(correct))
    return {
        "accuracy": sum(correct) / len(correct),
        "wilson95": [low, high],
        "questions": len(correct),
        "choices": float(np.mean(numbers)),
        "chance": float(np.mean(1 / np.array(numbers))),
        "blind": sum(blind) / len(blind),
    }
