r"""Says how many runs tell two success rates apart: ``python -m egodtm_robot.plan RUNS``.

How much chance there is comes from runs that were made already, folders or files as for
``egodtm_robot.compare``, or is given::

    python -m egodtm_robot.plan runs/benchmark rates=[0.85,0.90]
    python -m egodtm_robot.plan rates=[0.85,0.90] training_deviation=0.05 discordance=0.2

Training and episodes are two sources of chance. More run seeds lessen both, more episodes only the
second, which is why the plan is a table. See docs/guide/comparing.md.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from egodtm_robot.comparison.plan import Plan, chance_of, given_chance
from egodtm_robot.comparison.reading import read_arms
from egodtm_robot.core.configuration import Bounds, PositiveInt, command
from egodtm_robot.core.errors import ConfigurationError


@dataclass
class PlanConfig:
    """What is to be told apart, and how much chance there is."""

    runs: list[str] = field(default_factory=list)
    """Folders of finished runs and files of outcomes that show how much chance there is; arguments
    that are no settings."""

    arms: list[str] = field(default_factory=list)
    """The two arms whose difference shows it; empty for all pairs, of which the median counts."""

    rates: list[float] = field(default_factory=lambda: [0.85, 0.90])
    """The two success rates to tell apart, means over conditions, from 0 to 1."""

    power: Annotated[float, Bounds(0, 1)] = 0.8
    """Probability with which the difference is to be found."""

    alpha: Annotated[float, Bounds(0, 1)] = 0.05
    """Level of the two-sided test."""

    episodes: list[PositiveInt] = field(default_factory=lambda: [20, 50, 70, 100, 200, 500])
    """Final episodes of a run under each condition; a row of the plan for each."""

    training_deviation: Annotated[float, Bounds(0, 1)] | None = None
    """Without runs: standard deviation over run seeds of the difference of two arms, mean over
    conditions, that endless episodes would leave; 0.05 is 5 points."""

    discordance: Annotated[float, Bounds(0, 1)] | None = None
    """Without runs: share of episodes that exactly one of the two policies solves."""

    conditions: PositiveInt = 1
    """Without runs: environments, looks and resets that the mean is over."""

    def __post_init__(self) -> None:
        """Refuse what leaves the question open.

        Raises:
            ConfigurationError: there are not two different rates, or neither runs nor both numbers,
                or both.
        """
        if len(set(self.rates)) != 2 or len(self.rates) != 2:
            raise ConfigurationError(f"Expected rates to be two different ones, got {self.rates}.")
        if not all(0 <= rate <= 1 for rate in self.rates):
            raise ConfigurationError(f"Expected rates from 0 to 1, got {self.rates}.")
        if not 0 < self.power < 1 or not 0 < self.alpha < 1 or self.alpha >= self.power:
            raise ConfigurationError(
                f"Expected 0 < alpha < power < 1, got alpha={self.alpha} and power={self.power}."
            )
        if not self.episodes:
            raise ConfigurationError("Expected at least one number of episodes, got none.")
        given = [self.training_deviation is not None, self.discordance is not None]
        if (self.runs and any(given)) or (not self.runs and not all(given)):
            raise ConfigurationError(
                "Expected either runs that show how much chance there is, or training_deviation "
                f"and discordance, got runs={self.runs}, "
                f"training_deviation={self.training_deviation} and discordance={self.discordance}."
            )


def plan(config: PlanConfig) -> Plan:
    """The plan for a question.

    Raises:
        EgoDTMRobotError: the runs cannot be read, or show no chance over run seeds.
    """
    difference = config.rates[1] - config.rates[0]
    if config.training_deviation is not None and config.discordance is not None:
        chance = given_chance(
            config.training_deviation, config.discordance, difference, config.conditions
        )
    else:
        arms = read_arms([Path(path) for path in config.runs])
        chance = chance_of(arms, config.arms)
    return Plan.of(chance, config.rates, config.episodes, config.power, config.alpha)


@command(PlanConfig, "plan", "runs")
def main(config: PlanConfig) -> None:
    """Prints the plan."""
    print(plan(config).to_markdown())


if __name__ == "__main__":
    main()
