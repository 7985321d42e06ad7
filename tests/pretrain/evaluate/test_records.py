import numpy as np
import pytest

from pretrain.evaluate.records import read_records, write_records
from pretrain.evaluate.task import EvaluationTaskError


def test_records_come_back_as_they_were(tmp_path):
    records = [
        {"item": 0, "video": "a", "right": True, "iou": float("nan"),
         "embedding": np.float32([1, 2]), "choices": np.ones((3, 2), np.float32)},
        {"item": 7, "video": "längere", "right": False, "iou": 0.1,
         "embedding": np.float32([3, 4]), "choices": np.zeros((1, 2), np.float32)},
    ]  # fmt: skip
    path = tmp_path / "task" / "00000.npz"
    write_records(path, records)
    found = read_records(path)
    assert len(found) == 2
    for one, record in zip(found, records, strict=True):
        assert one.keys() == record.keys()
        for name, value in record.items():
            np.testing.assert_array_equal(one[name], value)
            assert type(one[name]) is type(value)
    assert found[0]["embedding"].dtype == np.float32


def test_a_damaged_or_missing_file_is_measured_again(tmp_path):
    path = tmp_path / "00000.npz"
    assert read_records(path) is None
    write_records(path, [{"item": 1}])
    path.write_bytes(path.read_bytes()[:-30])
    assert read_records(path) is None


def test_what_would_have_to_be_pickled_is_refused(tmp_path):
    with pytest.raises(EvaluationTaskError, match=r"found of a record .* got None"):
        write_records(tmp_path / "x.npz", [{"item": 1, "found": None}])
    with pytest.raises(EvaluationTaskError, match="the fields item, found"):
        write_records(tmp_path / "x.npz", [{"item": 1, "found": 2}, {"item": 2}])
    np.savez(tmp_path / "foreign.npz", item=np.array([{"a": 1}], object))
    assert read_records(tmp_path / "foreign.npz") is None
