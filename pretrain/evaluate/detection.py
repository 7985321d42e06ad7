"""How good detections are: average precision, and precision and recall of yes-or-no answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.clips.box_geometry import intersection_over_union


@dataclass
class Found:
    """Detections and truth of one image.

    Attributes:
        xyxy: float (n, 4), boxes that were found.
        score: float (n,), how sure the detector was.
        truth: float (m, 4), boxes that are there.
    """

    xyxy: np.ndarray
    score: np.ndarray
    truth: np.ndarray


def average_precision(images: Sequence[Found], least_overlap: float = 0.5) -> float:
    """Area below the curve of precision over recall, as PASCAL VOC has it since 2010.

    Detections of all images are taken in the order of their scores. One is right if a true box of
    its image that no surer one has claimed overlaps with it so much; of several the most.

    Args:
        images: what was found where.
        least_overlap: intersection over union.

    Returns:
        0 to 1; NaN if there is nothing to find.
    """
    there = sum(len(image.truth) for image in images)
    if not there:
        return float("nan")
    score = np.concatenate([np.zeros(0), *(image.score for image in images)])
    right = np.concatenate([np.zeros(0, bool), *(match(i, least_overlap) >= 0 for i in images)])
    right = right[np.argsort(-score, kind="stable")]
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    # Precision at a recall is the best that can be had at this recall or a larger one.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * right).sum() / there)


def match(image: Found, least_overlap: float = 0.5) -> np.ndarray:
    """Which true box each detection claims, the surest first; int (n,), -1 for none."""
    claimed = np.full(len(image.xyxy), -1)
    overlap = intersection_over_union(image.xyxy, image.truth)
    for index in np.argsort(-image.score, kind="stable"):
        free = ~np.isin(np.arange(len(image.truth)), claimed)
        candidates = np.where(free, overlap[index], -1.0)
        if len(candidates) and candidates.max() >= least_overlap:
            claimed[index] = int(candidates.argmax())
    return claimed


@dataclass
class Counts:
    """Answers against the truth.

    Attributes:
        right: said and true.
        said: said.
        true: true.
    """

    right: int = 0
    said: int = 0
    true: int = 0

    def add(self, said: np.ndarray, true: np.ndarray) -> None:
        """Count bool (n,) answers."""
        self.right += int((said & true).sum())
        self.said += int(said.sum())
        self.true += int(true.sum())

    @property
    def precision(self) -> float:
        """Share of what was said that is true; NaN if nothing was."""
        return self.right / self.said if self.said else float("nan")

    @property
    def recall(self) -> float:
        """Share of what is true that was said; NaN if nothing is."""
        return self.right / self.true if self.true else float("nan")
