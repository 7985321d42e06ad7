import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.core.storage import array_spec
from egodtm_robot.demos import shuffled_steps
from egodtm_robot.demos.shuffled_steps import ShuffledSteps

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_stores import make_store


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(array_spec, "TARGET_CHUNK_BYTES", 2000)


@pytest.mark.parametrize("memory", [10**9, 20_000, 0])
@pytest.mark.parametrize("batch_size", [1, 16, 1000])
def test_batches_visit_every_step_once_in_an_order_of_the_generator(
    tmp_path, monkeypatch, memory, batch_size
):
    monkeypatch.setattr(shuffled_steps, "MEMORY_BYTES", memory)
    monkeypatch.setattr(shuffled_steps, "WINDOW_BYTES", 6_000)
    store = make_store(tmp_path / "demos", 6)
    steps = ShuffledSteps(store)
    values = store.steps(slice(None), ["rgb/left", "actions"])
    chosen = np.arange(3, store.num_steps, 2)
    orders = []
    for seed in (0, 0, 1):
        batches = list(
            steps.batches(batch_size, np.random.default_rng(seed), ["rgb/left", "actions"], chosen)
        )
        assert {len(batch["index"]) for batch in batches[:-1]} <= {batch_size}
        for batch in batches:
            for name in ("rgb/left", "actions"):
                np.testing.assert_array_equal(batch[name], values[name][batch["index"]])
        orders.append(np.concatenate([batch["index"] for batch in batches]))
        np.testing.assert_array_equal(np.sort(orders[-1]), chosen)
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert np.abs(np.diff(orders[0])).mean() > 5


def test_no_steps_make_no_batches(tmp_path):
    store = make_store(tmp_path / "demos", 1)
    generator = np.random.default_rng(0)
    assert (
        list(ShuffledSteps(store).batches(4, generator, ["actions"], np.array([], np.int64))) == []
    )
