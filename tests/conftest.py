"""Fixtures that tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from egodtm_robot.core.drawing.gl import select_backend

# Before any test imports MuJoCo's drawing module, which reads MUJOCO_GL once.
select_backend()

_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def sample() -> Callable[[str], Path]:
    """Find a sample of real data by its path inside the folder that ``EGODTM_SAMPLES`` names.

    The folder is ``../shared`` from the repository's root by default. A test whose sample is not
    there is skipped, and fails where ``CI=true``: there a skipped check would pass unseen.
    """
    folder = Path(os.environ.get("EGODTM_SAMPLES") or _ROOT.parent / "shared").expanduser()

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            message = f"no sample {name} in {folder}; set EGODTM_SAMPLES to the folder of samples"
            if os.environ.get("CI", "").lower() in ("1", "true"):
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find


@pytest.fixture(scope="session")
def robohive_package() -> None:
    """The package robohive, imported; a test that asks for it is skipped where it is not there.

    Where ``CI=true`` it fails instead, but not on a MuJoCo that is too old for dm_control.
    """
    from envs.robohive.native.package import (
        RoboHiveNotFoundError,
        RoboHiveVersionError,
        import_robohive,
    )

    try:
        import_robohive()
    except RoboHiveVersionError as error:
        pytest.skip(str(error))
    except RoboHiveNotFoundError as error:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(str(error))
        pytest.skip(str(error))
