"""RoboHive's assets: where they are looked for, and both states of them."""

import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from envs.registry import environment_config, make_environment
from envs.robohive import RoboHiveKitchenEnv, simhive
from envs.robohive.simhive import (
    KETTLE_ASSET,
    PATH_VARIABLE,
    SimhiveNotFoundError,
    kettle_asset,
    simhive_folder,
)

PARTS = ("franka_sim", "furniture_sim", "scene_sim")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder for assets of an installed robohive that must not be run; still missing."""
    package = tmp_path / "robohive"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('made for another MuJoCo')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "robohive", raising=False)  # it may be installed and in use
    monkeypatch.delenv(PATH_VARIABLE, raising=False)
    return package / "simhive"


def test_without_assets_the_error_says_where_they_are_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(PATH_VARIABLE, raising=False)
    monkeypatch.setattr(simhive.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SimhiveNotFoundError, match=f"set {PATH_VARIABLE}"):
        make_environment(environment_config("robohive_kitchen_light"))
    (tmp_path / "franka_sim/assets").mkdir(parents=True)
    (tmp_path / "franka_sim/assets/assets.xml").touch()
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path))
    with pytest.raises(
        SimhiveNotFoundError, match="furniture_sim is not there, scene_sim is not there. Clone"
    ):
        simhive_folder()


def test_empty_folders_are_named_and_not_believed(installed: Path) -> None:
    """What robohive_init leaves, and calls a success, where it could not clone."""
    with pytest.raises(SimhiveNotFoundError, match="Run robohive_init"):
        simhive_folder()
    for part in PARTS:
        (installed / part).mkdir(parents=True)
    with pytest.raises(SimhiveNotFoundError, match=r"scene_sim has no topfloor_scene\.xml.*empty"):
        make_environment(environment_config("robohive_kitchen_light"))


def test_what_robohive_init_checks_out_compiles_to_the_same_scene(
    sample: Callable[[str], Path], installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its furniture_sim has the kettle's defaults at the top level, where MuJoCo refuses them."""
    newest = sample("simhive")
    for part in PARTS:
        source, target = newest / part, installed / part
        target.mkdir(parents=True)
        for path in source.iterdir():
            if path.name != "kettle":
                (target / path.name).symlink_to(path)
    kettle = installed / "furniture_sim/kettle"
    kettle.mkdir()
    for path in (newest / "furniture_sim/kettle").iterdir():
        if path.name != "kettle_asset.xml":
            (kettle / path.name).symlink_to(path)
    root = ET.parse(newest / f"{KETTLE_ASSET}.xml").getroot()
    (outer,) = root.findall("default")
    root.remove(outer)
    root.extend(outer)
    assert root.find("default").get("class") == "kettle"  # type: ignore[union-attr]
    (kettle / "kettle_asset.xml").write_text(ET.tostring(root, "unicode"))

    both = [
        [ET.tostring(element).split() for element in kettle_asset(folder)]
        for folder in (newest, installed)
    ]
    assert both[0][0] == both[1][0]
    theirs = RoboHiveKitchenEnv("light", cameras=())
    monkeypatch.setenv(PATH_VARIABLE, str(newest))
    assert theirs.model_hash == RoboHiveKitchenEnv("light", cameras=()).model_hash
