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
        ``accuracy`` with ``wilson95``, ``questions``, the mean number of ``choices`` and what
        ``chance`` gives; None without a question. The true caption has to be strictly nearest.
    """
    correct = []
    numbers = []
    for clip, captions in zip(np.asarray(video, np.float64), choices, strict=True):
        if len(captions) < 2:
            continue
        similarity = np.asarray(captions, np.float64) @ clip
        correct.append(bool(similarity[0] > similarity[1:].max()))
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
    }
