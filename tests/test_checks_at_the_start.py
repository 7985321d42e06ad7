"""What can be known at the start of a command is refused there, before anything is written.

A folder that holds a run with other settings is the last thing that is said: behind it nobody would
see the value that is wrong.
"""

import importlib
import sys
from pathlib import Path

import pytest

from egodtm_robot.core.configuration.reference import command_modules

sys.path.append(str(Path(__file__).parent / "fakes"))
from fake_clips import make_store
from tiny_model import TINY_OVERRIDES

BC = ["env=franka_kitchen_light", "env.resolution=32", "encoder=pixels", "device=cpu", "workers=0"]
PRETRAIN = [*TINY_OVERRIDES, "device=cpu"]
STORE = ["data=store", "data.path=clips"]

CASES = [
    ("train_bc", [*BC, "env.cameras=[]"], "at least one camera"),
    ("train_bc", [*BC, "demos.path=clips/shard_0000"], "a store of demonstrations"),
    ("train_bc", [*BC, "encoder=none", "encoder._target_=fake_encoders.Liar"], "declares tokens"),
    (
        "train_bc",
        [*BC, "encoder._target_=fake_encoders.Scattered", "policy=mlp_spatial_softmax"],
        "grid",
    ),
    ("pretrain", [*PRETRAIN, "initial=missing.pt"], "missing.pt"),
    ("pretrain", [*PRETRAIN, "initial=hostile.pt"], "hostile.pt"),
    ("pretrain", [*PRETRAIN, "tasks=[retrieval,nope]"], "'nope'"),
    ("pretrain", [*PRETRAIN, "best_by=[nope]"], "best_by"),
    ("pretrain", [*PRETRAIN, "data=store", "data.path=nowhere"], "nowhere"),
    ("pretrain", [*PRETRAIN, *STORE, "data.validation=nowhere"], "nowhere"),
    ("train_detector", ["stores=[nowhere]", "device=cpu"], "nowhere"),
    ("train_detector", ["stores=[clips]", "validation=[nowhere]"], "nowhere"),
    ("train_detector", ["stores=[clips]", "init=nowhere"], "nowhere"),
    ("rechunk", ["videos=nowhere"], "nowhere"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    make_store(folder / "clips", range(8))
    (folder / "hostile.pt").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    return folder


@pytest.mark.parametrize(
    ("command", "arguments", "part"), CASES, ids=[f"{c[0]} {c[1][-1]}" for c in CASES]
)
def test_it_is_named_before_anything_is_written(
    command, arguments, part, place, monkeypatch, capsys
):
    monkeypatch.chdir(place)
    main = importlib.import_module(command_modules()[command]).main
    key = "out" if command == "rechunk" else "run_dir"
    taken = place / "taken"
    taken.mkdir(exist_ok=True)
    (taken / "config.yaml").write_text("of: another run\n")
    before = sorted(place.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, f"{key}=taken"])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line
    assert "another run" not in line
    assert sorted(place.rglob("*")) == before
