"""What a run was measured under: its protocol and the code, which runs must share to be compared.

A difference between two encoders means something only where nothing else differs. Each run
therefore carries the name of its protocol, a hash of every setting that the protocol stands for,
and the versions of the toolkit and the simulator; :func:`shared_provenance` refuses runs in which
one of them differs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from egodtm_robot.core.errors import EgoDTMRobotError


class MixedRunsError(EgoDTMRobotError, ValueError):
    """Runs that are to be compared were measured under different protocols or code."""


@dataclass(frozen=True, order=True)
class Provenance:
    """What a run was measured under.

    Attributes:
        protocol: name of the protocol.
        settings: hash of every setting that the name stands for, with the number, noise and seed of
            the demonstrations and the split of the final episodes; empty where it is not known.
        toolkit: version of this package; empty where it is not known.
        simulator: its name and version, such as ``mujoco 4.0.0``; empty where it is not known.
    """

    protocol: str
    settings: str = ""
    toolkit: str = ""
    simulator: str = ""

    def __str__(self) -> str:
        settings = f" (settings {self.settings})" if self.settings else ""
        toolkit = f", toolkit {self.toolkit}" if self.toolkit else ""
        simulator = f", {self.simulator}" if self.simulator else ""
        return f"protocol {self.protocol}{settings}{toolkit}{simulator}"

    def agrees(self, other: "Provenance") -> bool:
        """Whether nothing that both know differs; a protocol is its settings, whatever its name."""
        for ours, theirs in (
            (self.toolkit, other.toolkit),
            (self.simulator, other.simulator),
        ):
            if ours and theirs and ours != theirs:
                return False
        if self.settings and other.settings:
            return self.settings == other.settings
        return not self.protocol or not other.protocol or self.protocol == other.protocol


def shared_provenance(
    runs: Iterable[tuple[str, Provenance | None]], allow_mixed: bool = False
) -> tuple[Provenance, ...]:
    """The provenances among runs: none where none is known, and one unless mixing is allowed.

    Args:
        runs: what to call each run in a message, with its provenance.
        allow_mixed: whether several are taken.

    Raises:
        MixedRunsError: two disagree, and ``allow_mixed`` is False.
    """
    found: dict[Provenance, str] = {}
    for name, provenance in runs:
        if provenance is not None:
            found.setdefault(provenance, name)
    known = sorted(found)
    for first in known:
        for second in known:
            if not allow_mixed and not first.agrees(second):
                raise MixedRunsError(
                    f"Expected runs of one protocol, toolkit and simulator, got {first} in "
                    f"{found[first]} and {second} in {found[second]}. What differs besides the "
                    "arms would be taken for a difference between them: compare runs of the same "
                    "protocol, or set allow_mixed=true to compare them all the same."
                )
    # A run that knows less than another adds nothing.
    return tuple(
        one for one in known if not any(one != other and _says_less(one, other) for other in known)
    )


def _says_less(one: Provenance, other: Provenance) -> bool:
    return one.agrees(other) and _known(one) < _known(other)


def _known(provenance: Provenance) -> int:
    return sum(bool(value) for value in vars(provenance).values())
