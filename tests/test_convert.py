"""The command converts in the direction that fits what lies at the path."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.convert import ConvertConfig
from egodtm_robot.convert import main as convert
from egodtm_robot.core.configuration import compose
from egodtm_robot.core.configuration.instantiation import group_config, group_names, import_target
from egodtm_robot.demos import DemonstrationStore

sys.path.append(str(Path(__file__).parent / "fakes"))
from fake_foreign_stores import make_foreign_store


def run(capsys, *overrides):
    convert([*overrides, "workers=0"])
    return capsys.readouterr()


def test_there_and_back(tmp_path, capsys):
    store = make_foreign_store(tmp_path / "store", 2)
    there = run(capsys, "format=lerobot", f"path={store.path}", f"out={tmp_path / 'data'}")
    assert "2 episodes of 18 steps in" in there.out
    assert "numbers exact; top: PSNR" in there.out
    assert "of disk" in there.err
    assert "2/2" in there.err
    back = run(capsys, "format=lerobot", f"path={tmp_path / 'data'}", f"out={tmp_path / 'back'}")
    assert "actions 3, proprioception 4, cameras top, wrist" in back.out
    found = DemonstrationStore.open(tmp_path / "back")
    assert np.array_equal(found.array("actions").read(), store.array("actions").read())


def test_options_of_a_format_are_set_on_the_command_line(tmp_path, capsys):
    store = make_foreign_store(tmp_path / "store", 1)
    data = tmp_path / "data"
    there = ("format=minari", "format.dataset_id=lab/arm-v3", "format.cameras=[wrist]")
    assert "images exact" in run(capsys, *there, f"path={store.path}", f"out={data}").out
    assert json.loads((data / "data/metadata.json").read_text())["dataset_id"] == "lab/arm-v3"
    back = run(capsys, "format=minari", f"path={data}", f"out={tmp_path / 'back'}")
    assert "cameras wrist\n" in back.out


@pytest.mark.parametrize("name", sorted({*group_names("format")} - {"custom"}))
def test_the_file_of_a_format_has_all_its_options(name):
    options = group_config("format", name)
    target = import_target("format", options.pop("_target_"))
    assert options.pop("name") == name
    assert options == {field.name: field.default for field in dataclasses.fields(target)}


def test_every_option_that_the_guide_names_is_one():
    guide = (Path(__file__).parents[1] / "docs/guide/convert.md").read_text()
    lines = guide.replace("\\\n", "").splitlines()
    commands = [x.split()[3:] for x in lines if x.startswith("python -m egodtm_robot.convert ")]
    assert len(commands) > 8
    for overrides in commands:
        compose(ConvertConfig, "convert", overrides)
