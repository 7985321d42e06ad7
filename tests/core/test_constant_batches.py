import numpy as np
import pytest
import torch

from egodtm_robot.core.constant_batches import constant_batches


@pytest.mark.parametrize("make", [np.asarray, lambda a: torch.from_numpy(np.asarray(a))])
@pytest.mark.parametrize("rows", [1, 3, 4, 9])
def test_every_batch_is_full_and_every_row_comes_once(make, rows):
    array = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2) + 1
    found = []
    for batch, chosen in constant_batches({"a": make(array), "b": make(array[:, 0])}, 4):
        assert tuple(batch["a"].shape) == (4, 2)
        assert tuple(batch["b"].shape) == (4,)
        count = chosen.stop - chosen.start
        assert not np.asarray(batch["a"])[count:].any(), "the rest is zeros"
        assert np.asarray(batch["a"]).dtype == np.float32
        found.append(np.asarray(batch["a"])[:count])
    np.testing.assert_array_equal(np.concatenate(found), array)


def test_no_rows_give_one_batch_without_any():
    ((batch, rows),) = constant_batches({"a": np.zeros((0, 5), np.uint8)}, 3)
    assert batch["a"].shape == (3, 5)
    assert (rows.start, rows.stop) == (0, 0)
