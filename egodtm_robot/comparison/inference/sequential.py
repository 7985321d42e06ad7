"""A comparison that may be looked at after every run, and stops as soon as it is decided."""

from typing import Literal

import numpy as np

Verdict = Literal["first", "second", "equivalent", "undecided"]
"""Which arm is better, that they are level within the margin, or neither yet."""


class PairedEProcess:
    """Tests of two arms that stay valid whenever one stops.

    Args:
        alpha: largest probability of a wrong verdict, in (0, 1).
        margin: differences below it do not matter; in (0, 1).
    """

    _BETS = np.linspace(0.05, 0.95, 19)

    def __init__(self, alpha: float = 0.05, margin: float = 0.03) -> None:
        if not 0 < alpha < 1 or not 0 < margin < 1:
            raise ValueError(
                f"Expected alpha and margin between 0 and 1, got {alpha} and {margin}."
            )
        self.alpha = alpha
        self.margin = margin
        self.blocks: list[float] = []

    def add(self, block: float) -> None:
        """Take in the next pair of runs.

        Args:
            block: mean difference, first minus second, of one run seed over all conditions; in
                [-1, 1].

        Raises:
            ValueError: the block is not in [-1, 1].
        """
        if not -1 <= block <= 1:
            raise ValueError(f"Expected a mean difference in [-1, 1], got {block}.")
        self.blocks.append(float(block))

    @property
    def e_first(self) -> float:
        """Evidence that the first arm is better."""
        return self._wealth(np.asarray(self.blocks))

    @property
    def e_second(self) -> float:
        """Evidence that the second arm is better."""
        return self._wealth(-np.asarray(self.blocks))

    @property
    def e_equivalent(self) -> float:
        """Evidence that the arms are level within the margin."""
        blocks = np.asarray(self.blocks)
        scale = 1 + self.margin
        return min(
            self._wealth((self.margin - blocks) / scale),
            self._wealth((self.margin + blocks) / scale),
        )

    @property
    def verdict(self) -> Verdict:
        """What is decided so far."""
        if self.e_first >= 2 / self.alpha:
            return "first"
        if self.e_second >= 2 / self.alpha:
            return "second"
        return "equivalent" if self.e_equivalent >= 1 / self.alpha else "undecided"

    def _wealth(self, blocks: np.ndarray) -> float:
        return float(np.mean(np.prod(1 + self._BETS[:, None] * blocks, axis=1)))
