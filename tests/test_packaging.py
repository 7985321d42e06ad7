import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("configs", "egodtm_robot", "envs", "policies", "pretrain")

# Every module is imported and every group composed, from the wheel alone.
CHECK = """
import importlib, importlib.util, pkgutil, sys
from importlib import resources
from pathlib import Path

target = Path(sys.argv[1]).resolve()
names = []
for name in sys.argv[2:]:
    package = importlib.import_module(name)
    assert Path(package.__file__).resolve().is_relative_to(target), package.__file__
    names.append(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
        names.append(module.name)
for entry in resources.files("configs").joinpath("env").iterdir():
    print("config", "env/" + entry.name)
for entry in resources.files("configs").iterdir():
    print("config", entry.name)
print("module", *names)
"""


def run(*arguments, cwd, **environment):
    process = subprocess.run(
        arguments,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the installed wheel, built from a copy so that nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    offline = ("--no-deps", "--no-index")
    run(*pip, "wheel", *offline, "--no-build-isolation", "-w", "wheels", "./source", cwd=folder)
    (wheel,) = (folder / "wheels").glob("*.whl")
    run(*pip, "install", *offline, "--target", "site", str(wheel), cwd=folder)
    return folder / "site"


def test_an_installed_wheel_imports_every_module_from_another_folder(installed, tmp_path):
    out = run(
        sys.executable,
        "-c",
        CHECK,
        str(installed),
        *PACKAGES,
        cwd=tmp_path,
        PYTHONPATH=str(installed),
    )
    found = dict.fromkeys(out.split())
    sources = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert sources <= set(found)
    assert os.listdir(tmp_path) == []


def test_the_wheel_holds_every_configuration_and_nothing_foreign(installed):
    ours = {path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml")}
    theirs = {path.relative_to(installed) for path in (installed / "configs").rglob("*.yaml")}
    assert ours
    assert theirs == ours
    templates = {path.name for path in installed.glob("egodtm_robot/comparison/report/templates/*")}
    assert templates == {"page.html", "script.js", "style.css"}
    top = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert top == set(PACKAGES)
    assert not list(installed.rglob("*.ipynb")) + list(installed.rglob("test_*.py"))


def command_modules():
    """The modules of the toolkit that are commands."""
    return sorted(
        path.stem
        for path in (ROOT / "egodtm_robot").glob("*.py")
        if "\n@command(" in path.read_text()
    )


@pytest.mark.parametrize("name", command_modules())
def test_each_command_shows_its_help_from_the_wheel(installed, tmp_path, name):
    out = run(
        sys.executable,
        "-m",
        f"egodtm_robot.{name}",
        "--help",
        cwd=tmp_path,
        PYTHONPATH=str(installed),
    )
    first = out.splitlines()[0]
    assert first.startswith(f"python -m egodtm_robot.{name} [")
    assert " [KEY=VALUE ...]" in first
    assert "\nSettings, with their values for these choices:" in out
    assert os.listdir(tmp_path) == []


# Without the finder of an editable install, which would find our submodules all the same.
RUN_INSTALLED = """
import runpy, sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
name, sys.argv = sys.argv[1], ["command", "--help"]
runpy.run_module(name, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("name", command_modules())
def test_each_command_says_so_when_a_folder_shadows_ours(installed, tmp_path, name):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").touch()
    process = subprocess.run(
        [sys.executable, "-c", RUN_INSTALLED, f"egodtm_robot.{name}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 2, process.stderr
    assert process.stderr.startswith("ShadowedPackageError: ")
    assert str(tmp_path / "envs") in process.stderr
    assert len(process.stderr.splitlines()) == 1
