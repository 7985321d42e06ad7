"""diffusion_policy's replay buffers, laid out by hand as its own code writes them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from egodtm_robot.demos.convert.contract import ConversionError
from egodtm_robot.demos.convert.replay_buffer import ReplayBufferFormat

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_conversions import read, written
from fake_stores import make_store

FORMAT = ReplayBufferFormat()
ENDS = [4, 9, 12]


def arrays():
    generator = np.random.default_rng(0)
    return {
        "action": generator.uniform(0, 512, (12, 2)).astype(np.float32),
        "state": generator.uniform(0, 512, (12, 5)).astype(np.float32),
        # PushT has its images as floats of whole numbers.
        "img": generator.integers(0, 256, (12, 6, 6, 3)).astype(np.float32),
        "n_contacts": generator.integers(0, 3, (12, 1)).astype(np.float32),
        "keypoint": generator.normal(size=(12, 9, 2)).astype(np.float32),
    }


@pytest.fixture
def data(tmp_path):
    group = zarr.open_group(tmp_path / "pusht.zarr", mode="w", zarr_format=2)
    for name, values in arrays().items():
        array = group.create_array(
            f"data/{name}", shape=values.shape, chunks=(5, *values.shape[1:]), dtype=values.dtype
        )
        array[:] = values
    group.create_array("meta/episode_ends", shape=(3,), dtype="int64")[:] = ENDS
    return tmp_path / "pusht.zarr"


def test_a_buffer_becomes_a_store(data, tmp_path):
    store = read(FORMAT, data, tmp_path / "store")
    given = arrays()
    assert store.attributes.origin.name == "pusht"
    assert np.diff(store.episode_offsets).tolist() == [4, 5, 3]
    assert np.array_equal(store.array("actions").read(), given["action"])
    assert np.array_equal(store.array("proprioception").read(), given["state"])
    assert np.array_equal(store.array("rgb/img").read(), given["img"].astype(np.uint8))
    assert np.array_equal(store.array("extra/keypoint").read(), given["keypoint"])


@pytest.mark.parametrize("compressor", ["lz4", "zstd"])
def test_everything_goes_back(data, tmp_path, compressor):
    store = read(FORMAT, data, tmp_path / "store")
    out = written(ReplayBufferFormat(compressor=compressor), store, tmp_path / "back.zarr")
    group = zarr.open_group(out, mode="r")
    assert group.metadata.zarr_format == 2
    assert group["meta/episode_ends"][:].tolist() == ENDS
    # The buffer's own code goes through all that lies below data, and takes it for arrays.
    assert {name for name, _ in group["data"].members()} == set(arrays())
    for name, values in arrays().items():
        assert group[f"data/{name}"].dtype == values.dtype
        assert np.array_equal(group[f"data/{name}"][:], values), name


def test_a_zip_file_is_read(data, tmp_path):
    store = zarr.storage.ZipStore(tmp_path / "pusht.zarr.zip", mode="w")
    group = zarr.open_group(store, mode="w", zarr_format=2)
    for name, values in arrays().items():
        group.create_array(f"data/{name}", shape=values.shape, dtype=values.dtype)[:] = values
    group.create_array("meta/episode_ends", shape=(3,), dtype="int64")[:] = ENDS
    store.close()
    one = read(FORMAT, data, tmp_path / "one")
    two = read(FORMAT, tmp_path / "pusht.zarr.zip", tmp_path / "two")
    assert one.fingerprint == two.fingerprint


def test_a_column_that_was_changed_after_writing_is_named(tmp_path):
    out = written(FORMAT, make_store(tmp_path / "store", 1), tmp_path / "data.zarr")
    group = zarr.open_group(out)
    values = group["data/state"][:].astype(np.float64) + 1e-9
    del group["data/state"]
    group.create_array("data/state", shape=values.shape, dtype=values.dtype)[:] = values
    with pytest.raises(ConversionError, match="'state', as its egodtm_robot record says"):
        read(FORMAT, out, tmp_path / "back")


def test_images_between_zero_and_one_are_refused(data, tmp_path):
    zarr.open_group(data)["data/img"][:] = arrays()["img"] / 255
    with pytest.raises(ConversionError, match="whole numbers from 0 to 255 in data/img"):
        read(FORMAT, data, tmp_path / "store")
    store = read(ReplayBufferFormat(cameras=[]), data, tmp_path / "other")
    assert store.attributes.cameras == ()


def test_what_is_damaged_is_named(data, tmp_path):
    group = zarr.open_group(data)
    group["meta/episode_ends"][:] = [4, 9, 13]
    with pytest.raises(ConversionError, match="Expected 13 rows .* ragged"):
        read(FORMAT, data, tmp_path / "store")
    group["meta/episode_ends"][:] = [4, 4, 12]
    with pytest.raises(ConversionError, match="ends of episodes that increase"):
        read(FORMAT, data, tmp_path / "store")
    group["meta/episode_ends"][:] = ENDS
    chunk = next(file for file in (data / "data/action").rglob("*") if file.name.startswith("1"))
    chunk.write_bytes(b"damaged")
    with pytest.raises(ConversionError, match="data/action of .* readable in episode 1"):
        read(FORMAT, data, tmp_path / "store")
    del group["meta/episode_ends"]
    group.create_array("meta/episode_ends", shape=(3,), dtype="float64")[:] = [4.5, 9, 12]
    with pytest.raises(ConversionError, match="whole numbers in meta/episode_ends .* float64"):
        read(FORMAT, data, tmp_path / "store")
    (data / "data/action/.zarray").write_text("{")
    with pytest.raises(ConversionError, match="Expected the data set .* readable"):
        read(FORMAT, data, tmp_path / "other")
    del group["meta/episode_ends"]
    with pytest.raises(ConversionError, match="no 'meta/episode_ends'"):
        read(FORMAT, data, tmp_path / "other")
