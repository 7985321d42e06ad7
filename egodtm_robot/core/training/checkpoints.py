"""The two checkpoints that a run keeps: the best on validation, and the last."""

import math
from dataclasses import dataclass
from typing import Literal

Kept = Literal["best", "last"]
"""Names of the checkpoints."""


@dataclass
class BestCheckpoint:
    """Which step's weights scored best so far.

    Attributes:
        step: number of steps that the weights have seen; -1 before the first validation.
        score: their score, the larger the better.
    """

    step: int = -1
    score: float = -math.inf

    def enter(self, step: int, score: float) -> tuple[Kept, ...]:
        """Take note of a validation; of equal scores the earliest stays the best.

        Args:
            step: number of steps that the weights have seen.
            score: the larger the better; any number is better than NaN.

        Returns:
            The checkpoints that these weights are to be kept as.
        """
        better = self.step < 0 or score > self.score or (math.isnan(self.score) and score == score)
        if not better:
            return ("last",)
        self.step, self.score = step, score
        return ("last", "best")

    def to_json(self) -> list[float]:
        """The pair of step and score, for the record of a state to resume from."""
        return [self.step, self.score]

    @classmethod
    def from_json(cls, pair: list[float]) -> "BestCheckpoint":
        """Read back what :meth:`to_json` gave."""
        return cls(int(pair[0]), float(pair[1]))
