"""How many run seeds and episodes tell two success rates apart."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from egodtm_robot.comparison.arms import Arm
from egodtm_robot.comparison.differences import pair
from egodtm_robot.comparison.inference.paired import paired_estimate
from egodtm_robot.comparison.inference.planning import seeds_needed
from egodtm_robot.core.errors import ConfigurationError, EgoDTMRobotError, UnknownNameError


class NoChanceError(EgoDTMRobotError, ValueError):
    """Runs do not show how much chance there is between run seeds."""


@dataclass(frozen=True)
class Chance:
    """How much chance there is in the difference of two arms.

    Attributes:
        training_variance: of a run seed's difference, mean over conditions, with endless episodes.
        episode_variance: what one episode a condition adds to it; n episodes add an n-th.
        source: where it is known from, in words.
    """

    training_variance: float
    episode_variance: float
    source: str


@dataclass(frozen=True)
class Plan:
    """The answer to how many runs tell two success rates apart.

    Attributes:
        rates: the two.
        power: probability with which their difference is found.
        alpha: level of the two-sided test.
        chance: that it rests on.
        run_seeds: needed of each arm, by the episodes of a run under each condition; None for more
            than can be.
    """

    rates: tuple[float, float]
    power: float
    alpha: float
    chance: Chance
    run_seeds: dict[int, int | None]

    @classmethod
    def of(
        cls,
        chance: Chance,
        rates: Sequence[float],
        episodes: Sequence[int],
        power: float,
        alpha: float,
    ) -> "Plan":
        """Work the plan out.

        Args:
            chance: in the difference of the two arms.
            rates: two different ones, from 0 to 1.
            episodes: of a run under each condition, an entry of the plan each.
            power: probability with which the difference is to be found.
            alpha: level of the two-sided test.
        """
        first, second = rates
        needed: dict[int, int | None] = {}
        for number in episodes:
            try:
                needed[number] = seeds_needed(
                    second - first,
                    chance.training_variance,
                    chance.episode_variance,
                    number,
                    power,
                    alpha,
                )
            except ValueError:
                needed[number] = None
        return cls((first, second), power, alpha, chance, needed)

    def to_markdown(self) -> str:
        """A sentence for the question and a row for each number of episodes."""
        low, high = sorted(self.rates)
        deviation = 100 * math.sqrt(self.chance.training_variance)
        lines = [
            f"To tell {_percent(low)} from {_percent(high)} % at {_percent(self.power)} % power "
            f"(two-sided test at {_percent(self.alpha)} %), each arm needs:",
            "",
            "| episodes of a run and condition | run seeds | episodes of a condition in all |",
            "|---|---|---|",
        ]
        for episodes, seeds in self.run_seeds.items():
            total = "" if seeds is None else f"{seeds * episodes:,}"
            lines.append(f"| {episodes} | {'too many' if seeds is None else seeds} | {total} |")
        lines += [
            "",
            f"The chance is {self.chance.source}: run seeds differ by a standard deviation of "
            f"{deviation:.1f} points beyond their episodes, and one episode a condition by "
            f"{100 * math.sqrt(self.chance.episode_variance):.0f}.",
        ]
        return "\n".join(lines)


def chance_of(arms: Sequence[Arm], names: Sequence[str] = ()) -> Chance:
    """The chance in differences of arms, the median over pairs.

    Args:
        arms: two or more that share episodes.
        names: of two of them; empty for all pairs.

    Raises:
        UnknownNameError: an arm has no such name.
        ConfigurationError: there are not two arms.
        NoChanceError: every pair shares one run seed only.
        PairingError: two arms share no episodes.
    """
    known = {arm.name: arm for arm in arms}
    for name in names:
        if name not in known:
            raise UnknownNameError("arm", name, list(known))
    chosen = [known[name] for name in names] if names else list(arms)
    if len(chosen) < 2 or (names and len(set(names)) != 2):
        raise ConfigurationError(
            "Expected two arms or more whose differences show how much chance there is, got "
            f"{', '.join(arm.name for arm in chosen) or 'none'}."
        )
    pairs = list(itertools.combinations(chosen, 2))
    found = [paired_estimate(pair(first, second)) for first, second in pairs]
    found = [one for one in found if one.over != "episodes"]
    if not found:
        raise NoChanceError(
            "Expected arms with two run seeds or more, since one shows nothing of the chance in "
            "training. Train more run seeds, or give training_deviation and discordance."
        )
    seeds = {one.run_seeds for one in found}
    numbers = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    source = (
        f"that of {pairs[0][0].name} against {pairs[0][1].name}"
        if len(pairs) == 1
        else f"the median of {len(found)} pairs"
    )
    return Chance(
        float(np.median([one.training_variance for one in found])),
        float(np.median([one.episode_variance for one in found])),
        f"{source} over {numbers} run seeds",
    )


def given_chance(
    training_deviation: float, discordance: float, difference: float, conditions: int
) -> Chance:
    """The chance that was told.

    Args:
        training_deviation: standard deviation of the difference over run seeds, mean over
            conditions, with endless episodes.
        discordance: share of episodes that exactly one of two policies solves, at least the
            absolute ``difference``.
        difference: of the two rates.
        conditions: that the mean is over.

    Raises:
        ConfigurationError: the discordance is too small for the difference.
    """
    if discordance < abs(difference):
        raise ConfigurationError(
            f"Expected a discordance of at least the difference {abs(difference):g}, since that "
            f"many episodes must be solved by one policy alone, got {discordance}."
        )
    variance = (discordance - difference**2) / conditions
    return Chance(training_deviation**2, variance, "as given")


def _percent(rate: float) -> str:
    return f"{100 * rate:g}"
