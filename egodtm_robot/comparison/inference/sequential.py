"""A comparison that may be looked at after every run, and stops as soon as it is decided."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from egodtm_robot.core.intervals import Interval

Array = NDArray[np.float64]
Verdict = Literal["first", "second", "equivalent", "undecided"]
"""Which arm is better, that they are level within the margin, or neither yet."""

_EFFECTS = np.array([0.25, 0.5, 1.0, 2.0, 4.0])
_WEIGHTS = np.array([1.0, 1.0, 4.0, 4.0, 2.0]) / 12
"""Supposed means in standard deviations of a block, and how much is bet on each. Large ones decide
clear cases after four blocks, small ones decide close cases at all."""

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(48)
_REACH = 7.5
"""Half the range of integration. The integrand is narrower than a normal density with deviation 1,
so nothing that counts lies further from its peak."""


class PairedEProcess:
    """Tests of two arms that stay valid whenever one stops, whatever made one stop.

    A block is one pair of training runs with the same seed: the mean difference over conditions and
    episodes. So the tested hypotheses are about the mean over training runs, and the chance of
    training counts even if all conditions share it. The assumption is that blocks are independent
    and about normal, with any variance. Blocks are means over hundreds of episodes; how far the
    levels hold for strongly skewed ones is in ``docs/results/statistics.md``.

    The evidence against a hypothesis is the likelihood ratio of the blocks' t statistic, mixed over
    effect sizes (Pérez-Ortiz, Lardy, de Heide & Grünwald, Annals of Statistics 2024). If the
    hypothesis is true, the ratio ever exceeds 1/alpha with a probability of at most alpha (Ville
    1939), so that one may look after every block. Two pairs of one-sided tests give the verdicts:

    - ``first`` or ``second``: the mean difference is not at most 0, or not at least 0, each at
      alpha/2. Arms without a difference are told apart with a probability of at most alpha.
    - ``equivalent``: the difference is neither as large as the margin nor as small as its negative,
      each at alpha. Arms that differ by the margin or more are called level with a probability of
      at most alpha.

    Of k pairs of arms give each alpha/k.

    Args:
        alpha: level of the verdicts, between 0 and 1.
        margin: smallest difference that matters, stated before the results are seen; between 0
            and 1.

    Raises:
        ValueError: alpha or margin is out of range.
    """

    def __init__(self, alpha: float = 0.05, margin: float = 0.03) -> None:
        if not 0 < alpha < 1 or not 0 < margin < 1:
            raise ValueError(
                f"Expected alpha and margin between 0 and 1, got {alpha} and {margin}."
            )
        self.alpha = alpha
        self.margin = margin
        self.blocks: list[float] = []
        self.verdict: Verdict = "undecided"
        self._below_margin = False
        self._above_margin = False

    def add(self, block: float) -> Verdict:
        """Take in the next pair of runs.

        Args:
            block: mean difference, first minus second, of one run seed over all conditions; in
                [-1, 1].

        Returns:
            What is decided so far; a verdict stays.

        Raises:
            ValueError: the block is not in [-1, 1].
        """
        if not -1 <= block <= 1:
            raise ValueError(f"Expected a mean difference in [-1, 1], got {block}.")
        self.blocks.append(float(block))
        below, above = self._margin_values()
        self._below_margin |= below >= 1 / self.alpha
        self._above_margin |= above >= 1 / self.alpha
        if self.verdict != "undecided":
            return self.verdict
        if self.e_first >= 2 / self.alpha:
            self.verdict = "first"
        elif self.e_second >= 2 / self.alpha:
            self.verdict = "second"
        elif self._below_margin and self._above_margin:
            self.verdict = "equivalent"
        return self.verdict

    @property
    def e_first(self) -> float:
        """Evidence that the first arm is better; decides at 2/alpha."""
        return _e_value(np.array(self.blocks))

    @property
    def e_second(self) -> float:
        """Evidence that the second arm is better; decides at 2/alpha."""
        return _e_value(-np.array(self.blocks))

    @property
    def e_equivalent(self) -> float:
        """Evidence that the arms are level, the weaker of its two sides; decides at 1/alpha."""
        return min(self._margin_values())

    @property
    def interval(self) -> Interval:
        """The differences that are not ruled out at alpha, within [-1, 1].

        It holds the true difference after every block at once with a probability of at least
        1 - alpha, so also when one stops. The interval of a study of fixed size does not: one stops
        rather where the arms look different.
        """
        blocks = np.array(self.blocks)
        return Interval(
            -_smallest_ruled_out(-blocks, self.alpha), _smallest_ruled_out(blocks, self.alpha)
        )

    def _margin_values(self) -> tuple[float, float]:
        """Evidence that the difference is below the margin, and above its negative."""
        blocks = np.array(self.blocks)
        return _e_value(self.margin - blocks), _e_value(self.margin + blocks)


def _e_value(blocks: Array) -> float:
    return float(np.exp(min(float(log_e_value(blocks)), 700.0)))


def _smallest_ruled_out(blocks: Array, alpha: float) -> float:
    """The smallest difference above the blocks' mean that they speak against at alpha/2; 1 if none.

    The evidence that the mean is below a difference rises with the difference.
    """
    low, high = (float(blocks.mean()), 1.0) if len(blocks) else (1.0, 1.0)
    if log_e_value(high - blocks) < np.log(2 / alpha):
        return 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if log_e_value(middle - blocks) < np.log(2 / alpha):
            low = middle
        else:
            high = middle
    return high


def log_e_value(blocks: Array) -> Array:
    """Logarithm of the evidence that the mean of normal blocks is above 0.

    Args:
        blocks: float (..., n).

    Returns:
        Of the leading shape; 0 while all blocks are 0.
    """
    length = np.sqrt((blocks**2).sum(axis=-1))
    known = length > 0
    direction = np.divide(blocks.sum(axis=-1), length, out=np.zeros_like(length), where=known)
    if blocks.shape[-1] == 0:
        return direction
    return np.where(known, log_likelihood_ratio(blocks.shape[-1], direction), 0.0)


def log_likelihood_ratio(number: int, direction: Array) -> Array:
    """Logarithm of the ratio of densities of normal blocks, up to their scale.

    One is under a supposed mean, mixed over several, the other under 0. The scale is integrated out
    with its invariant measure, which makes the ratio that of the t statistic. It rises with every
    block that speaks for a larger mean, so a true mean below 0 makes it smaller still than 0 does.

    Args:
        number: of blocks, at least 1.
        direction: their sum over the root of the sum of their squares, any shape; from
            -sqrt(number) to sqrt(number).
    """
    shift = _EFFECTS * np.asarray(direction)[..., None]
    ratios = (
        _log_integral(number, shift) - _log_integral(number, np.zeros(1)) - number * _EFFECTS**2 / 2
    )
    ratio: Array = special.logsumexp(ratios, axis=-1, b=_WEIGHTS)
    return ratio


def _log_integral(number: int, shift: Array) -> Array:
    """Logarithm of the integral of v^(number - 1) exp(-v^2 / 2 + v * shift) over v > 0."""
    peak = np.maximum((shift + np.sqrt(shift**2 + 4 * (number - 1))) / 2, 0)
    low, high = np.maximum(peak - _REACH, 0), peak + _REACH
    points = low[..., None] + (high - low)[..., None] * (1 + _NODES) / 2
    logs = (number - 1) * np.log(points) - points**2 / 2 + points * shift[..., None]
    integral: Array = special.logsumexp(logs, axis=-1, b=_NODE_WEIGHTS)
    return integral + np.log((high - low) / 2)
