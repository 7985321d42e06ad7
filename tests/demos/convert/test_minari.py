"""Minari's data sets, laid out by hand as its documentation has them."""

import io
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from egodtm_robot.demos.convert.contract import ConversionError
from egodtm_robot.demos.convert.minari import MinariFormat

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_conversions import read, written

FORMAT = MinariFormat()
LENGTHS = (4, 6)


def arrays_of(number):
    generator = np.random.default_rng(number)
    steps = LENGTHS[number]
    return {
        "observations/observation": generator.normal(size=(steps + 1, 5)),
        "observations/camera": generator.integers(0, 256, (steps + 1, 8, 9, 3), dtype=np.uint8),
        "actions": generator.uniform(-1, 1, (steps, 2)).astype(np.float32),
        "rewards": generator.normal(size=steps),
        "terminations": np.zeros(steps, bool),
        "truncations": np.arange(steps) == steps - 1,
        "infos/success": np.arange(steps + 1) == (steps if number else -1),
        "infos/qpos": generator.normal(size=(steps + 1, 3)),
    }


def box(shape, dtype, low=0.0, high=1.0):
    full = [np.full(shape, value).tolist() for value in (low, high)]
    return {"type": "Box", "dtype": dtype, "shape": list(shape), "low": full[0], "high": full[1]}


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "reach-v0" / "data"
    folder.mkdir(parents=True)
    spaces = {
        "observation": box((5,), "float64"),
        "camera": box((8, 9, 3), "uint8", 0, 255),
        "mission": {"type": "Text", "max_length": 9, "min_length": 0, "charset": "abc"},
    }
    metadata = {
        "total_episodes": 2,
        "total_steps": sum(LENGTHS),
        "data_format": "hdf5",
        "dataset_id": "robot/reach-v0",
        "minari_version": "0.5.2",
        "jpeg_encoding": False,
        "observation_space": json.dumps({"type": "Dict", "subspaces": spaces}),
        "action_space": json.dumps(box((2,), "float32", -1.0, 1.0)),
        "author": ["someone"],
    }
    (folder / "metadata.json").write_text(json.dumps(metadata))
    with h5py.File(folder / "main_data.hdf5", "w") as file:
        for number, steps in enumerate(LENGTHS):
            episode = file.create_group(f"episode_{number}")
            episode.attrs.update({"id": number, "seed": 7, "total_steps": steps})
            for name, values in arrays_of(number).items():
                episode[name] = values
            lines = [f"go {step}" for step in range(steps + 1)]
            episode.create_dataset(
                "observations/mission", data=lines, dtype=h5py.string_dtype("utf-8")
            )
    return folder.parent


def test_a_data_set_becomes_a_store(data, tmp_path):
    store = read(FORMAT, data, tmp_path / "store")
    origin = store.attributes.origin
    assert (origin.name, origin.version) == ("robot/reach-v0", "0.5.2")
    assert store.successes == [False, True]
    # The bounds of images would be megabytes in the store's record.
    spaces = origin.metadata["metadata"]["observation_space"]["subspaces"]
    assert (spaces["camera"]["low"], spaces["camera"]["high"]) == (0, 255)
    for number, steps in enumerate(LENGTHS):
        given, stored = arrays_of(number), store.episode(number)
        assert np.array_equal(stored["actions"], given["actions"])
        state = given["observations/observation"][:-1]
        assert np.array_equal(stored["proprioception"], state.astype(np.float32))
        assert np.array_equal(stored["extra/observations/observation"], state)
        assert np.array_equal(stored["rgb/camera"], given["observations/camera"][:-1])
        notes = store.notes(number)
        assert notes["texts"]["observations/mission"][0] == "go 0"
        assert len(notes["final"]) == 4
        assert notes["attributes"]["total_steps"] == steps


def test_everything_goes_back(data, tmp_path):
    out = written(FORMAT, read(FORMAT, data, tmp_path / "store"), tmp_path / "back")
    with h5py.File(out / "data/main_data.hdf5") as file:
        for number in range(2):
            episode = file[f"episode_{number}"]
            assert dict(episode.attrs) == {"id": number, "seed": 7, "total_steps": LENGTHS[number]}
            for name, values in arrays_of(number).items():
                assert episode[name].dtype == values.dtype
                assert np.array_equal(episode[name][()], values), name
            assert episode["observations/mission"][1] == b"go 1"
    before, after = (json.loads((d / "data/metadata.json").read_text()) for d in (data, out))
    assert before | {"minari_version": "0.5.4"} == after


def test_jpeg_images_are_decoded(data, tmp_path):
    path = data / "data/metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["jpeg_encoding"]  # as Minari's versions before the setting
    path.write_text(json.dumps(metadata))
    wanted = []
    with h5py.File(data / "data/main_data.hdf5", "a") as file:
        for number in range(2):
            images = file[f"episode_{number}/observations/camera"][()]
            cells = []
            for image in images:
                buffer = io.BytesIO()
                Image.fromarray(image).save(buffer, format="JPEG")
                cells.append(np.frombuffer(buffer.getvalue(), np.uint8))
                wanted.append(np.asarray(Image.open(buffer)))
            wanted.pop()  # the last observation belongs to no step
            del file[f"episode_{number}/observations/camera"]
            made = file.create_dataset(
                f"episode_{number}/observations/camera",
                (len(cells),),
                dtype=h5py.vlen_dtype(np.uint8),
            )
            for place, cell in enumerate(cells):
                made[place] = cell
    store = read(FORMAT, data, tmp_path / "store")
    assert np.array_equal(store.array("rgb/camera").read(), np.stack(wanted))


def spoil_format(folder):
    path = folder / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data_format": "arrow"}))


def spoil_count(folder):
    path = folder / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"total_episodes": 3}))


def spoil_file(folder):
    path = folder / "main_data.hdf5"
    path.write_bytes(path.read_bytes()[:3000])


def shorten(folder):
    with h5py.File(folder / "main_data.hdf5", "a") as file:
        values = file["episode_1/infos/qpos"][:-3]
        del file["episode_1/infos/qpos"]
        file["episode_1/infos/qpos"] = values


def spoil_metadata(folder):
    (folder / "metadata.json").write_text("[1]")


def spoil_space(folder):
    path = folder / "metadata.json"
    changes = {"observation_space": "{", "jpeg_encoding": True}
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_actions(folder):
    with h5py.File(folder / "main_data.hdf5", "a") as file:
        del file["episode_1/actions"]
        file["episode_1/actions"] = np.zeros((LENGTHS[1], 5), np.float32)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_metadata, "Expected the data set .* readable, got AttributeError"),
        (spoil_space, "Expected the data set .* readable, got JSONDecodeError"),
        (change_actions, r"episode 1 of .* array 'actions'; got \(5,\)"),
        (spoil_format, "in HDF5 .* got 'arrow'"),
        (spoil_count, "Expected 3 episodes .* missing episode_2"),
        (spoil_file, "Expected a whole HDF5 file"),
        (shorten, "Expected 6 rows of 'infos/qpos' in episode 1.*ragged"),
    ],
)
def test_what_is_damaged_is_named(data, tmp_path, spoil, message):
    spoil(data / "data")
    with pytest.raises(ConversionError, match=message):
        read(FORMAT, data, tmp_path / "store")
