"""Say so when a folder of the user's has taken the place of one of ours.

Our packages bear plain names. Python looks into the folder of the script, or with ``python -m`` and
``python -c`` into the working directory, before it looks among the installed packages. There, a
folder ``envs/`` hides ours, and what follows is an import error that names neither.
"""

import importlib.machinery
import sys
from pathlib import Path

from egodtm_robot.core.errors import ShadowedPackageError

TOP_PACKAGES = ("configs", "envs", "policies", "pretrain")
"""The packages beside ``egodtm_robot`` that the toolkit is made of."""

_ROOT = Path(__file__).resolve().parents[3]


def check_shadowing(root: Path = _ROOT) -> None:
    """Check that each package would be imported from beside this one.

    Nothing is imported by the check.

    Args:
        root: the folder that holds ``egodtm_robot`` and the packages beside it.

    Raises:
        ShadowedPackageError: at least one would come from elsewhere.
    """
    foreign = []
    for name in TOP_PACKAGES:
        ours = root / name
        for location in _locations(name):
            if location.resolve() != ours:
                foreign.append(str(location))
            break
    if foreign:
        raise ShadowedPackageError(
            f"Expected {', '.join(TOP_PACKAGES)} from {root}, but Python would import "
            f"{', '.join(foreign)} instead. Start the command from another folder, rename that "
            "folder, take it off PYTHONPATH, or set PYTHONSAFEPATH=1."
        )


def _locations(name: str) -> list[Path]:
    """The folders from which ``import name`` would take the package, the decisive one first."""
    module = sys.modules.get(name)
    if module is not None:
        return [Path(folder) for folder in getattr(module, "__path__", [])]
    # The path finder alone: an editable install's finder stands behind it and knows only ours.
    spec = importlib.machinery.PathFinder.find_spec(name)
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [Path(spec.origin)] if spec.origin else []
    if spec.origin is None:
        # A folder without __init__.py: a regular package further down the path would have won over
        # it, but not an editable install, whose finder is asked last.
        return [Path(folder) for folder in spec.submodule_search_locations]
    return [Path(spec.origin).parent]
