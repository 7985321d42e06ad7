"""What a value must satisfy beyond its type, written ``Annotated[int, Bounds(1)]`` in a dataclass.

The schema layer calls ``check`` before a command starts, and ``--help`` prints a constraint with
the type of its field.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol, runtime_checkable

from egodtm_robot.core.errors import ConfigurationError, OutputPathError


@runtime_checkable
class Constraint(Protocol):
    """What stands behind the type in ``Annotated``; its text completes "Expected KEY ..."."""

    def check(self, key: str, value: object) -> None:
        """Raise an :class:`EgoDTMRobotError` that names the key if the value does not fit."""


@dataclass(frozen=True)
class Bounds:
    """The range of a number; both ends belong to it."""

    minimum: float | None = None
    """The least value allowed; None for no limit."""

    maximum: float | None = None
    """The greatest value allowed; None for no limit."""

    def __str__(self) -> str:
        if self.maximum is None:
            return f"at least {self.minimum}"
        if self.minimum is None:
            return f"at most {self.maximum}"
        return f"from {self.minimum} to {self.maximum}"

    def check(self, key: str, value: object) -> None:
        """Refuse a number outside.

        Raises:
            ConfigurationError: it lies outside, or is NaN.
        """
        least = float("-inf") if self.minimum is None else self.minimum
        greatest = float("inf") if self.maximum is None else self.maximum
        if not isinstance(value, int | float) or not least <= value <= greatest:
            raise ConfigurationError(f"Expected {key} {self}, got {value}.")


@dataclass(frozen=True)
class OutputPath:
    """Where a command writes: refused before it starts if nothing can be written there."""

    kind: Literal["folder", "file"]
    """What is to lie there."""

    def __str__(self) -> str:
        return f"path of a {self.kind}"

    def check(self, key: str, value: object) -> None:
        """Refuse a path at which the operating system would let nothing be made.

        Nothing is written by the check.

        Raises:
            OutputPathError: the path is empty, a file is in the way, a name is too long, or the
                folder is not writable.
        """
        if not str(value).strip():
            raise OutputPathError(f"Expected {key} to be the path of a {self.kind}, got none.")
        path = Path(str(value)).expanduser().absolute()
        reason = self._obstacle(path)
        if reason is not None:
            raise OutputPathError(f"Expected {key} to be a {self.kind} that can be made: {reason}.")

    def _obstacle(self, path: Path) -> str | None:
        for name in path.parts:
            if "\0" in name:
                return "its name holds a null character"
            if len(os.fsencode(name)) > _LONGEST_NAME:
                return f"the name {name[:20]}... is longer than {_LONGEST_NAME} bytes"
        if len(os.fsencode(path)) > _LONGEST_PATH:
            return f"the path is longer than {_LONGEST_PATH} bytes"
        there = next(one for one in (path, *path.parents) if os.path.lexists(one))
        if there == path:
            # What is there may be finished and read-only: whether it is written to shows later.
            is_right = path.is_dir() if self.kind == "folder" else not path.is_dir()
            return None if is_right else f"{path} is a {'file' if path.is_file() else 'folder'}"
        if not there.is_dir():
            return f"{there} is not a folder"
        if not os.access(there, os.W_OK | os.X_OK):
            return f"the folder {there} is not writable"
        return None


# What Linux and macOS file systems take; a path leaves room for the files in a folder.
_LONGEST_NAME = 255
_LONGEST_PATH = 900

PositiveInt = Annotated[int, Bounds(1)]
"""A count of something that there must be."""

NonNegativeInt = Annotated[int, Bounds(0)]
"""A count of something that there may be none of."""

Workers = Annotated[int, Bounds(0, 1024)]
"""A number of processes; 0 works in the main one."""

Threads = Annotated[int, Bounds(1, 1024)]
"""A number of CPU threads; operating systems refuse many more."""

Seed = Annotated[int, Bounds(0, 4294967295)]
"""What NumPy and PyTorch both take for a seed."""

RunSeed = Annotated[int, Bounds(0, 9999)]
"""A seed from which the seeds of episodes follow; see :mod:`egodtm_robot.core.seeding`."""

PictureSide = Annotated[int, Bounds(1, 4096)]
"""Height and width of square pictures, pixels."""

OutputFolder = Annotated[str, OutputPath("folder")]
"""A folder that the command makes, or goes on in."""

OutputFile = Annotated[str, OutputPath("file")]
"""A file that the command writes; its folder is made."""
