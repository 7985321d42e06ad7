"""Spans of time: how much they overlap, which of many to answer with, and what chance finds."""

from dataclasses import dataclass

import numpy as np

LARGEST_OVERLAP = 0.5
"""Intersection over union that two answers to one question have at most."""

ANSWERS = 5
"""Answers that are kept for a question."""


def span_overlap(spans: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Intersection over union of time, as the Ego4D challenge computes it.

    Args:
        spans: float (n, 2), starts and ends.
        answer: float (2,).

    Returns:
        float64 (n,); 0 where nothing is covered by either.
    """
    shared = np.minimum(spans[:, 1], answer[1]) - np.maximum(spans[:, 0], answer[0])
    hull = np.maximum(spans[:, 1], answer[1]) - np.minimum(spans[:, 0], answer[0])
    overlap: np.ndarray = np.maximum(shared, 0) / np.where(hull > 0, hull, 1)
    return overlap


def best_spans(spans: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """At most five spans with the highest scores that differ from each other, the best first.

    Args:
        spans: float (n, 2).
        scores: float (n,).

    Returns:
        float (k, 2), 1 <= k <= 5.
    """
    chosen: list[np.ndarray] = []
    left = np.argsort(-scores, kind="stable")
    while len(left) and len(chosen) < ANSWERS:
        best = spans[left[0]]
        chosen.append(best)
        left = left[span_overlap(spans[left], best) <= LARGEST_OVERLAP]
    return np.stack(chosen)


@dataclass(frozen=True)
class VideoSteps:
    """A long video as a sequence of L steps.

    Attributes:
        features: float32 (L, J), of each step.
        bounds: float64 (L + 1,), where steps begin and end, seconds from the video's start.
    """

    features: np.ndarray
    bounds: np.ndarray

    @classmethod
    def of(
        cls,
        features: np.ndarray,
        centers: np.ndarray,
        duration_s: float,
        longest: int | None = None,
    ) -> "VideoSteps":
        """Steps of windows.

        Args:
            features: float (n, J).
            centers: float (n,), the middles of the windows, in any order. A step ends halfway to
                the next middle.
            duration_s: of the video.
            longest: most steps; a video of more is averaged in equal parts. None for any number.
        """
        order = np.argsort(centers, kind="stable")
        features, centers = features[order], centers[order]
        bounds = np.concatenate([[0.0], (centers[1:] + centers[:-1]) / 2, [duration_s]])
        if longest is not None and len(features) > longest:
            cuts = np.arange(longest + 1) * len(features) // longest
            sums = np.add.reduceat(features.astype(np.float64), cuts[:-1], axis=0)
            features, bounds = sums / np.diff(cuts)[:, None], bounds[cuts]
        return cls(features.astype(np.float32), bounds)

    def __len__(self) -> int:
        return len(self.features)

    def steps_of(self, answer: np.ndarray) -> tuple[int, int]:
        """First and last step that an answer (start, end) touches."""
        last = len(self) - 1
        first = int(np.clip(np.searchsorted(self.bounds, answer[0], "right") - 1, 0, last))
        end = int(np.clip(np.searchsorted(self.bounds, answer[1], "left") - 1, first, last))
        return first, end

    def windows(self, length_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A window at the start of every step that is about so long and does not pass the end.

        Args:
            length_s: seconds; a video that is shorter is one window.

        Returns:
            Spans float64 (k, 2), the first step of each, and the step behind its last.
        """
        first = np.arange(len(self))
        ends = self.bounds[:-1] + length_s
        last = np.abs(self.bounds[None, 1:] - ends[:, None]).argmin(axis=1) + 1
        last = np.maximum(last, first + 1)
        # Windows that the end cuts short are not as long as an answer; the last whole one is kept.
        whole = ends <= self.bounds[-1] + 1e-9
        whole[0] = True
        first, last = first[whole], last[whole]
        return np.stack([self.bounds[first], self.bounds[last]], axis=1), first, last


def chance_recall(right: int, windows: int, answers: int) -> float:
    """How likely one of some answers is right that are drawn without replacement.

    Args:
        right: windows that are right.
        windows: windows in all.
        answers: how many are drawn.
    """
    missed = 1.0
    for drawn in range(min(answers, windows)):
        missed *= max(windows - right - drawn, 0) / (windows - drawn)
    return 1 - missed
