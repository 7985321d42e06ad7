"""Packages that conversion needs beyond those that the toolkit needs anyway."""

import importlib
from types import ModuleType

from egodtm_robot.core.errors import MissingPackageError


def convert_package(name: str, kind: str) -> ModuleType:
    """A module of the extra ``convert``.

    Args:
        name: to import.
        kind: of the format that needs it.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingPackageError(
            f"Expected the package {package} for format={kind}, but it is not installed. Install "
            "it with: pip install 'egodtm-robot[convert]'"
        ) from error
