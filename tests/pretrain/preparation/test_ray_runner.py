import os
import sys
from pathlib import Path

import pytest
import torch

from egodtm_robot.core.configuration import compose
from pretrain.annotate.detectors.model import new_detector, save_detector
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
        "runner.groups={decode:{workers:1,cpus:1},depth:{workers:1,cpus:0.5,gpus:0.5}}",
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


@pytest.fixture
def one_thread():
    """Sums are rounded by how many threads share them; Ray gives each of its actors one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_real_annotators_write_the_same_on_a_cluster_as_in_processes(tmp_path):
    """Models that load in actors: a detector of transformers, our depth decoder, ByteTrack."""
    pytest.importorskip("trackers")
    detector = new_detector("rt_detr", "tiny", ["left hand", "square"], 0, "efficientnet_lite0")
    save_detector(tmp_path / "detector", detector, 64, {})
    squares = make_store(tmp_path / "squares", range(4), size=64)
    arguments = [
        "source=synthetic",
        f"source.store={squares}",
        "decoding.resolution=64",
        "shard_clips=2",
        "depth=egodtm",
        "hands_objects=trained",
        f"hands_objects.model={tmp_path / 'detector'}",
        "hands_objects.threshold=0.01",
        "tracking=byte_track",
        "captions=template",
    ]
    ray_stages = "{decode:{workers:1},depth:{workers:1},hands_objects:{workers:1}}"
    for name, runner in (
        ("local", ["runner=local", "runner.workers=0"]),
        ("ray", ["runner=ray", f"runner.groups={ray_stages}"]),
    ):
        chosen = [*arguments, *runner, f"out={tmp_path / name}"]
        report = prepare(compose(PrepareConfig, "prepare", chosen))
        assert (report["clips_out"], report["failures"]) == (4, 0)
    local, ray = ClipStore.open(tmp_path / "local"), ClipStore.open(tmp_path / "ray")
    assert any(len(local[index].boxes) for index in range(4)), "nothing was found to compare"
    assert local.fingerprint == ray.fingerprint
