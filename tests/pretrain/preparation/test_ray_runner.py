import os
import sys
from pathlib import Path

import pytest

from egodtm_robot.core.configuration import compose
from pretrain.clips import ClipStore
from pretrain.prepare import PrepareConfig, prepare

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_store

FAKES = Path(__file__).parents[2] / "fakes"

pytest.importorskip("ray")


def test_a_cluster_loses_nothing_when_a_worker_is_killed(tmp_path, monkeypatch):
    # One start of Ray for everything: it takes seconds, and half a gigabyte.
    # Its processes import what this one can.
    path = os.pathsep.join([str(FAKES), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    squares = make_store(tmp_path / "squares", range(5))
    arguments = [
        "source=synthetic",
        f"source.store={squares}",
        f"out={tmp_path / 'out'}",
        "decoding.resolution=32",
        "shard_clips=2",
        "runner=ray",
        "runner.stages={decode:{workers:1,cpus:1},depth:{workers:1,cpus:0.5,gpus:0.5}}",
        "depth._target_=fake_annotators.FakeDepth",
        f"+depth.log={tmp_path / 'log'}",
        "+depth.kills_once=[square/2]",
        "captions._target_=fake_annotators.FakeCaptions",
    ]
    report = prepare(compose(PrepareConfig, "prepare", arguments))
    assert (tmp_path / "log.depth.killed").exists(), "no worker was killed"
    assert (report["clips_in"], report["clips_out"], report["failures"]) == (5, 5, 0)
    store, source = ClipStore.open(tmp_path / "out"), ClipStore.open(squares)
    assert [store[i].key for i in range(5)] == [source[i].key for i in range(5)]
    assert store.has("depth").all()
    assert all(store[i].caption.endswith("version 1") for i in range(5))
    assert not store.verify()
