"""Stored demonstrations are drawn in the environment that the store says, whatever it is."""

import dataclasses
import sys
from pathlib import Path

import pytest

from egodtm_robot.core.errors import UnknownNameError
from egodtm_robot.demos import foreign_attributes
from egodtm_robot.demos.recorded import DrawingConfig, drawn_environment
from egodtm_robot.render import main as render
from envs.recorded import NoSimulatorError

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_foreign_stores import ORIGIN, make_foreign_store
from fake_stores import ATTRIBUTES

HAMMER = dataclasses.replace(
    ATTRIBUTES,
    environment="metaworld_hammer",
    kind="metaworld",
    task="hammer",
    cameras=("corner", "one_of_mine"),
    horizon=90,
)


def test_another_simulators_store_needs_no_name_of_it():
    config = drawn_environment(HAMMER, DrawingConfig(cameras=["topview"], resolution=64))
    assert config.name == "metaworld_hammer"
    assert (config.camera_names, config.resolution, config.horizon) == (("topview",), 64, 90)


def test_without_cameras_those_of_the_store_are_drawn():
    assert drawn_environment(HAMMER, DrawingConfig()).camera_names == ("corner",)


def test_what_the_stores_environment_does_not_have_is_named():
    with pytest.raises(UnknownNameError, match="'left'; expected one of: .*corner"):
        drawn_environment(HAMMER, DrawingConfig(cameras=["left"]))
    with pytest.raises(UnknownNameError, match="'gone'; expected one of: .*metaworld"):
        drawn_environment(dataclasses.replace(HAMMER, kind="gone"), DrawingConfig())


def test_recordings_are_not_drawn_again(tmp_path, capsys):
    with pytest.raises(NoSimulatorError, match=r"teleoperation.*\(top, wrist\).*env=recorded"):
        drawn_environment(foreign_attributes(ORIGIN), DrawingConfig(cameras=["left"]))
    store = make_foreign_store(tmp_path / "arm", 1)
    with pytest.raises(SystemExit):
        render([f"demos={store.path}", "workers=0"])
    assert capsys.readouterr().err.startswith("NoSimulatorError: Expected demonstrations with")
