import numpy as np
import pytest

from egodtm_robot.core.configuration import from_mapping
from egodtm_robot.core.errors import ConfigurationError, ForeignStoreError, UnknownNameError
from pretrain.clips.store import ClipStore
from pretrain.clips.synthetic import SyntheticClipConfig, generate
from pretrain.clips.synthetic import generate as generate_function
from pretrain.clips.synthetic.clips import render_clip
from pretrain.generate import GenerateConfig

CONFIG = SyntheticClipConfig(resolution=48, map_resolution=24, actions=["pick up", "open"])


@pytest.fixture
def silent():
    return lambda done: None


def test_a_store_goes_on_where_it_was_left(tmp_path, silent, monkeypatch):
    module = __import__("sys").modules[generate_function.__module__]
    monkeypatch.setattr(module, "SHARD_CLIPS", 3)
    monkeypatch.setattr(module, "_BATCH", 2)
    assert generate(CONFIG, "train", 4, tmp_path / "a", 0, silent) == 4
    assert generate(CONFIG, "train", 4, tmp_path / "a", 0, silent) == 0
    assert generate(CONFIG, "train", 5, tmp_path / "a", 0, silent) == 1
    reports = []
    assert generate(CONFIG, "train", 5, tmp_path / "b", 0, reports.append) == 5
    assert reports == [2, 3, 5]
    one, other = ClipStore.open(tmp_path / "a"), ClipStore.open(tmp_path / "b")
    assert len(one) == len(other) == 5
    for index in range(5):
        assert one[index].key == f"synthetic-train-{index}"
        assert one[index].caption == other[index].caption
        np.testing.assert_array_equal(one[index].frames, other[index].frames)
    assert not one.verify()


@pytest.mark.parametrize("there", [0, 1])
def test_two_runs_at_once_leave_every_clip_once(tmp_path, silent, monkeypatch, there):
    """While one run draws its first piece another one fills the store."""
    if there:
        generate(CONFIG, "train", there, tmp_path / "a", 0, silent)
    inside = []

    def render(*arguments):
        if not inside:
            inside.append(True)
            generate(CONFIG, "train", 4, tmp_path / "a", 0, silent)
        return render_clip(*arguments)

    module = __import__("sys").modules[generate_function.__module__]
    monkeypatch.setattr(module, "render_clip", render)
    monkeypatch.setattr(module, "_BATCH", 2)
    reports = []
    generate(CONFIG, "train", 4, tmp_path / "a", 0, reports.append)
    store = ClipStore.open(tmp_path / "a")
    assert [store[index].key for index in range(len(store))] == [
        f"synthetic-train-{seed}" for seed in range(4)
    ]
    assert reports[-1] == 4


def test_a_store_of_other_clips_is_refused(tmp_path, silent):
    generate(CONFIG, "train", 1, tmp_path, 0, silent)
    with pytest.raises(ForeignStoreError, match="split 'test'"):
        generate(CONFIG, "test", 1, tmp_path, 0, silent)
    other = SyntheticClipConfig(resolution=40, map_resolution=24, actions=["pick up", "open"])
    with pytest.raises(ForeignStoreError, match="resolution 40"):
        generate(other, "train", 1, tmp_path, 0, silent)


def test_processes_draw_the_same_clips(tmp_path, silent):
    generate(CONFIG, "validation", 2, tmp_path / "one", 0, silent)
    generate(CONFIG, "validation", 2, tmp_path / "two", 1, silent)
    one, two = ClipStore.open(tmp_path / "one"), ClipStore.open(tmp_path / "two")
    assert one.fingerprint == two.fingerprint


def test_the_command_refuses_what_cannot_be():
    with pytest.raises(UnknownNameError, match="train, validation"):
        from_mapping(GenerateConfig, {"out": "x", "split": "all"})
    with pytest.raises(ConfigurationError, match="clips at least 1, got 0"):
        from_mapping(GenerateConfig, {"out": "x", "clips": 0})
