"""The command converts in the direction that fits what lies at the path."""

import sys
from pathlib import Path

import numpy as np

from egodtm_robot.convert import main as convert
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
