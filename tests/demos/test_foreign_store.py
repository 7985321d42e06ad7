"""A store of another toolkit's demonstrations keeps what they bring and knows that they do."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from egodtm_robot.core.errors import (
    InvalidEpisodeError,
    StoreExistsError,
    StoreNotFoundError,
)
from egodtm_robot.demos import DemonstrationStore, foreign_attributes
from egodtm_robot.demos.collection import check_collection
from egodtm_robot.demos.verify import main as verify
from envs.kitchen.config import KitchenConfig

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_foreign_stores import ORIGIN, make_foreign_episode, make_foreign_store
from fake_stores import ATTRIBUTES, make_episode


def test_everything_comes_back(tmp_path):
    store = make_foreign_store(tmp_path / "demos")
    assert store.attributes == foreign_attributes(ORIGIN)
    assert store.attributes.foreign
    assert store.attributes.environment_kind == "foreign"
    assert store.attributes.control_dt == pytest.approx(1 / 30)
    assert store.successes == [True, False, None, True]
    for number in range(4):
        given = make_foreign_episode(number)
        arrays = given.step_arrays(bounded=False)
        stored = store.episode(number)
        assert stored.keys() == arrays.keys()
        for name, values in arrays.items():
            assert stored[name].dtype == values.dtype
            assert np.array_equal(stored[name], values)
        assert store.notes(number) == {"operator": f"person {number}"}
    assert store.verify() == []
    assert verify([str(store.path)]) == 0


def test_any_zarr_reader_opens_arrays_of_size_zero(tmp_path):
    store = make_foreign_store(tmp_path / "demos", 1)
    group = zarr.open_group(store.path, mode="r")
    assert group["simulator_state"].shape == (store.num_steps, 0)
    assert group["extra/next.reward"].dtype == np.float64


def test_damaged_notes_are_named(tmp_path):
    store = make_foreign_store(tmp_path / "demos", 2)
    chunk = store.path / "notes" / "c.0"
    content = bytearray(chunk.read_bytes())
    content[10] ^= 1
    chunk.write_bytes(content)
    assert any("notes" in str(problem) for problem in DemonstrationStore.open(store.path).verify())


def test_the_fingerprint_depends_on_the_tasks(tmp_path):
    one = make_foreign_store(tmp_path / "one", 1)
    other = dataclasses.replace(ORIGIN, tasks=("push", "pull"))
    with DemonstrationStore.create(tmp_path / "two", foreign_attributes(other)) as two:
        two.append_episode(make_foreign_episode(0))
    assert one.fingerprint != two.fingerprint


def test_stores_made_here_have_no_origin(tmp_path):
    with DemonstrationStore.create(tmp_path / "demos", ATTRIBUTES) as store:
        store.append_episode(make_episode(0))
        assert not store.attributes.foreign
        assert "notes" not in store.as_zarr()
        assert store.notes(0) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task_index": np.full(6, 2)}, "from 0 to 1"),
        ({"task_index": np.zeros(6, np.int32)}, "int64"),
        ({"task_index": np.zeros(5, np.int64)}, "6 rows"),
        ({"extra": {"reward": np.zeros(7)}}, "'extra/reward' with 6 rows"),
        ({"proprioception": np.full((6, 4), np.nan, np.float32)}, "finite"),
    ],
)
def test_episodes_that_contradict_themselves_are_refused(tmp_path, change, message):
    episode = dataclasses.replace(make_foreign_episode(0, steps=6), **change)
    with (
        DemonstrationStore.create(tmp_path / "demos", foreign_attributes(ORIGIN)) as store,
        pytest.raises(InvalidEpisodeError, match=message),
    ):
        store.append_episode(episode)


def test_images_of_another_size_are_refused(tmp_path):
    episode = make_foreign_episode(0)
    episode.rgb["wrist"] = episode.rgb["wrist"][:, :10]
    with (
        DemonstrationStore.create(tmp_path / "demos", foreign_attributes(ORIGIN)) as store,
        pytest.raises(InvalidEpisodeError, match=r"\(12, 12\) of camera 'wrist'"),
    ):
        store.append_episode(episode)


def test_a_data_set_in_the_place_of_a_store_leads_to_its_conversion(tmp_path):
    (tmp_path / "so100/meta").mkdir(parents=True)
    (tmp_path / "lift.hdf5").touch()
    for name in ("so100", "lift.hdf5"):
        with pytest.raises(StoreNotFoundError, match="egodtm_robot.convert format=NAME"):
            DemonstrationStore.open(tmp_path / name)
        with pytest.raises(StoreExistsError, match="egodtm_robot.convert format=NAME"):
            check_collection(KitchenConfig(), tmp_path / name)
    with pytest.raises(StoreNotFoundError, match="make the store first.$"):
        DemonstrationStore.open(tmp_path / "nowhere")
    check_collection(KitchenConfig(), tmp_path / "nowhere")
