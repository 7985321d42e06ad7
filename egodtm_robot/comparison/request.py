"""What a command compares: paths, the arms in them, and how they are compared."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from egodtm_robot.comparison.arms import Arm, ConditionPart, split_arms
from egodtm_robot.comparison.comparison import Comparison, compare_arms
from egodtm_robot.comparison.differences import PairingError
from egodtm_robot.comparison.reading import find_arms
from egodtm_robot.core.configuration import Bounds
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError


@dataclass
class ComparisonRequest:
    """What to compare."""

    runs: list[str] = field(default_factory=list)
    """Folders of finished runs and files of outcomes; arguments that are no settings."""

    arms: list[str] = field(default_factory=list)
    """Names of the arms to compare; empty for all that the paths hold."""

    reference: str | None = None
    """The arm that the others are set beside in the table; null for none. All pairs are compared in
    any case."""

    margin: Annotated[float, Bounds(0, 1)] = 0.03
    """Difference of success rates below which arms count as equal. State it before you look."""

    confidence: Annotated[float, Bounds(0, 1)] = 0.95
    """Level of every interval. A test decides at one minus it."""

    join: bool | None = None
    """Whether arms of one name in several paths are one arm; otherwise they are told apart by their
    paths. Null joins them if they are further runs of the same training, with equal settings and
    no run twice, and says what it did."""

    split: ConditionPart | None = None
    """Part of the condition by which each arm is split into several: ``look`` compares the same
    policies under the looks that they were tested on, on the same episode seeds."""

    allow_unpaired: bool = False
    """Whether arms that share no episodes are compared, as two separate experiments."""

    allow_mixed: bool = False
    """Whether runs of different protocols, versions of toolkit or simulator, or scenes are
    compared."""


def compare_paths(request: ComparisonRequest) -> tuple[tuple[Arm, ...], Comparison]:
    """Read the arms that were asked for and compare them.

    Args:
        request: what to compare.

    Raises:
        ConfigurationError: there are no paths.
        UnknownNameError: an arm has no such name.
        EgoDTMRobotError: what was read cannot be compared.
    """
    if not request.runs:
        raise ConfigurationError(
            "Expected folders of finished runs or files of outcomes as runs, got none. Name them "
            "behind the command: RUNS_A RUNS_B."
        )
    arms, notes = find_arms([Path(path) for path in request.runs], request.join)
    if request.split is not None:
        arms = split_arms(arms, request.split)
    if request.arms:
        known = {arm.name: arm for arm in arms}
        for name in request.arms:
            if name not in known:
                raise UnknownNameError("arm", name, list(known))
        arms = tuple(known[name] for name in request.arms)
    try:
        comparison = compare_arms(
            arms,
            request.reference,
            request.margin,
            request.confidence,
            allow_unpaired=request.allow_unpaired,
            allow_mixed=request.allow_mixed,
        )
    except PairingError as error:
        # What was told apart may be what should be one arm.
        raise PairingError(" ".join([str(error), *notes])) from error
    return arms, replace(comparison, notes=(*notes, *comparison.notes))
