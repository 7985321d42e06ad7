"""Damaged data sets: whatever goes wrong while one is read is named."""

from collections.abc import Iterator
from contextlib import contextmanager

from egodtm_robot.core.errors import EgoDTMRobotError
from egodtm_robot.demos.convert.contract import ConversionError

_STUMBLES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What libraries and formats raise over bytes that are not what they should be."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Names the data set in what goes wrong while its bytes are read.

    Args:
        what: is read, for messages.

    Raises:
        ConversionError: in place of any error that bytes can cause; errors with a name of ours
            pass.
    """
    try:
        yield
    except EgoDTMRobotError:
        raise
    except _STUMBLES as error:
        lines = str(error).strip().splitlines() or [""]
        raise ConversionError(
            f"Expected {what} to be readable, got {type(error).__name__}: {lines[0].strip()}. It "
            "is damaged, incomplete or of another version of its format: copy it again, or write "
            "it anew with the tools that it came from."
        ) from error
