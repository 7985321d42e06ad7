"""How good a recognition of action classes is: accuracies, and what guessing gives."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from egodtm_robot.core.intervals import Estimate
from pretrain.evaluate.task import mean_estimate, share_estimate


def accuracies(
    labels: Sequence[str], right: np.ndarray, videos: Sequence[str]
) -> dict[str, Estimate]:
    """``top1``, the share of right clips, and ``mean_class``, the mean of that share over classes.

    Args:
        labels: true class of each of n clips.
        right: bool (n,), whether it was recognized.
        videos: of each clip.
    """
    return {
        "top1": share_estimate(right, videos),
        "mean_class": mean_estimate(right, videos, strata=labels),
    }


def accuracies_by_clip(labels: Sequence[str], right: np.ndarray) -> dict[str, np.ndarray]:
    """What each clip adds: the means of float64 (n,) are the numbers of :func:`accuracies`.

    In ``mean_class`` clips are weighed so that the mean over clips is a mean over their classes.
    """
    counts = Counter(labels)
    weights = np.array([len(labels) / (len(counts) * counts[label]) for label in labels])
    return {"top1": right.astype(np.float64), "mean_class": right * weights}


def guessing(labels: Sequence[str], classes: int) -> dict[str, Any]:
    """What is right by chance: one of all classes at random, or the most frequent one always.

    Args:
        labels: true class of each clip.
        classes: how many there are to choose from.
    """
    counts = Counter(labels)
    return {
        "clips": len(labels),
        "classes": classes,
        "classes_seen": len(counts),
        "chance": 1 / classes,
        "most_frequent": max(counts.values()) / len(labels),
    }
