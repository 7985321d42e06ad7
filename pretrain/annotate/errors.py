"""Errors that annotators share."""

from importlib.util import find_spec

from egodtm_robot.core.errors import EgoDTMRobotError, MissingPackageError


class AnnotatorOptionError(EgoDTMRobotError, ValueError):
    """An annotator is configured with options that it does not take or that contradict another."""


class AnnotatorRefusedError(EgoDTMRobotError, RuntimeError):
    """An annotator can answer for no clip at all: a run stops, where other errors of an annotator
    cost the clips that they came with.
    """


def require_package(module: str, package: str, purpose: str) -> None:
    """Check that a module can be imported, without importing it.

    Args:
        module: its import name.
        package: what pip calls it.
        purpose: what needs it, to stand before "needs".

    Raises:
        MissingPackageError: it is not installed.
    """
    if find_spec(module) is None:
        raise MissingPackageError(
            f"{purpose} needs the package {package}, which is not installed. Run: "
            f"pip install {package}"
        )
