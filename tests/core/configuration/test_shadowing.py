import os
import subprocess
import sys
from pathlib import Path

import pytest

from egodtm_robot.core.configuration.shadowing import TOP_PACKAGES, check_shadowing
from egodtm_robot.core.errors import ShadowedPackageError

ROOT = Path(__file__).resolve().parents[3]
CHECK = (
    "from egodtm_robot.core.configuration.startup import prepare_command;"
    "prepare_command(); print('ran')"
)


def run_in(folder, **environment):
    """Run the check as a command does, with the user's folder first on sys.path."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(ROOT)!r}); {CHECK}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_nothing_is_shadowed_here():
    check_shadowing()


def test_an_innocent_folder_is_no_obstacle(tmp_path):
    (tmp_path / "data").mkdir()
    process = run_in(tmp_path)
    assert (process.returncode, process.stdout.strip()) == (0, "ran")


@pytest.mark.parametrize("name", TOP_PACKAGES)
def test_a_users_package_of_the_same_name_is_named_with_its_path(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    process = run_in(tmp_path)
    assert process.returncode == 2
    assert "ran" not in process.stdout
    assert process.stderr.startswith("ShadowedPackageError: ")
    assert len(process.stderr.splitlines()) == 1
    assert str(tmp_path / name) in process.stderr
    assert "PYTHONSAFEPATH=1" in process.stderr


def test_the_advice_works(tmp_path):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").touch()
    assert run_in(tmp_path, PYTHONSAFEPATH="1").returncode == 0


def test_a_module_file_shadows_too(tmp_path):
    (tmp_path / "policies.py").touch()
    process = run_in(tmp_path)
    assert process.returncode == 2
    assert "policies.py" in process.stderr


def test_a_package_that_was_imported_from_elsewhere_is_found(tmp_path):
    # Whoever imported a foreign envs before the command started has it for good.
    with pytest.raises(ShadowedPackageError, match="Expected configs, envs, policies, pretrain"):
        check_shadowing(root=tmp_path)
