import numpy as np
import pytest

from egodtm_robot.core.errors import CorruptStoreError
from pretrain.clips.annotated_clip import Detections
from pretrain.clips.clip import Boxes
from pretrain.preparation.stage_files import (
    IN_STORE,
    StageFile,
    StageOutput,
    read_record,
    write_stage,
)


def output(**fields):
    return StageOutput("depth", "one", "f00d", {"a/1": fields}, {"b": "why"}, 2.0, 1.5, {"n": 3})


def test_every_kind_of_field_comes_back(tmp_path):
    detections = Detections(
        frame=np.array([0, 3], np.int16),
        category=["hand", "mug"],
        score=np.array([0.5, 0.25], np.float32),
        side=np.array([1, 0], np.int8),
        contact=np.array([True, False]),
        xyxy=np.array([[0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]], np.float32),
    )
    depth = np.array([[[1, np.nan]]], np.float32)
    fields = {
        "depth": depth,
        "masks": None,
        "detections": detections,
        "boxes": Boxes.empty(),
        "caption": "naïve “quotes”",
        "distractors": ("one", "two"),
        "caption_report": {"statements": [{"kind": "region"}]},
    }
    path = tmp_path / "depth" / "shard_0000.npz"
    write_stage(path, output(**fields))
    with StageFile(path) as file:
        found = file.fields("a/1")
        assert set(file.fields("a/1", without=("depth", "masks"))) == set(fields) - {
            "depth",
            "masks",
        }
        assert file.field("a/1", "caption") == fields["caption"]
        with pytest.raises(KeyError):
            file.fields("b")
    np.testing.assert_array_equal(found["depth"], depth)
    assert found["masks"] is None
    assert found["distractors"] == ["one", "two"]
    assert found["caption_report"] == fields["caption_report"]
    assert found["detections"].category == ["hand", "mug"]
    for name in ("frame", "score", "side", "contact", "xyxy"):
        np.testing.assert_array_equal(
            getattr(found["detections"], name), getattr(detections, name), strict=True
        )
    found["boxes"].check(4)
    record = read_record(path)
    assert (record.keys, record.failures, record.statistics) == (("a/1",), {"b": "why"}, {"n": 3})
    assert (record.fingerprint, record.identity) == ("f00d", output().identity)


def test_frames_in_the_store_are_told_from_frames_here(tmp_path):
    path = tmp_path / "shard_0000.npz"
    write_stage(path, output(frames=IN_STORE, times=np.zeros(2)))
    assert read_record(path).keys_in_store == {"a/1"}
    with StageFile(path) as file:
        assert set(file.fields("a/1")) == {"times"}


def test_a_failure_more_is_another_identity():
    with_failure = output()
    without = StageOutput("depth", "one", "f00d", {}, {}, 2.0, 1.5)
    assert with_failure.identity != without.identity


def test_damage_and_objects_are_refused(tmp_path):
    path = tmp_path / "shard_0000.npz"
    assert read_record(path) is None
    path.write_bytes(b"not a zip file")
    assert read_record(path) is None
    with pytest.raises(CorruptStoreError, match="damaged"):
        StageFile(path)
    with pytest.raises((TypeError, ValueError)):
        write_stage(path, output(caption=object()))
    with pytest.raises(ValueError, match="allow_pickle"):
        write_stage(path, output(depth=np.array([object()])))
    assert path.read_bytes() == b"not a zip file"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
