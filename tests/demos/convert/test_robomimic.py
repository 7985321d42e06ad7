"""robomimic's files, laid out by hand as its documentation has them."""

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from egodtm_robot.demos.convert.contract import ConversionError
from egodtm_robot.demos.convert.robomimic import RobomimicFormat

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_conversions import read, written

FORMAT = RobomimicFormat()
LENGTHS = {"demo_0": 5, "demo_2": 7, "demo_10": 4}
ENV_ARGS = {
    "env_name": "Lift",
    "type": 1,
    "env_version": "1.4.1",
    "env_kwargs": {"robots": ["Panda"], "control_freq": 20},
}


def arrays_of(demo, steps):
    generator = np.random.default_rng(len(demo) + steps)
    observations = {
        "agentview_image": generator.integers(0, 256, (steps, 8, 8, 3), dtype=np.uint8),
        "object": generator.normal(size=(steps, 10)),
        "robot0_eef_pos": generator.normal(size=(steps, 3)),
        "robot0_eef_quat": generator.normal(size=(steps, 4)),
        "robot0_gripper_qpos": generator.normal(size=(steps, 2)),
        "robot0_joint_pos": generator.normal(size=(steps, 7)),
    }
    return {
        "actions": generator.uniform(-1, 1, (steps, 7)),
        "states": generator.normal(size=(steps, 32)),
        "rewards": np.arange(steps) * (steps != 7) == steps - 1,
        "dones": (np.arange(steps) == steps - 1).astype(np.int64),
        **{f"obs/{name}": values for name, values in observations.items()},
        **{f"next_obs/{name}": values[::-1] for name, values in observations.items()},
    }


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "low_dim.hdf5"
    with h5py.File(path, "w") as file:
        group = file.create_group("data")
        group.attrs["total"] = sum(LENGTHS.values())
        group.attrs["env_args"] = json.dumps(ENV_ARGS)
        for demo, steps in LENGTHS.items():
            made = group.create_group(demo)
            made.attrs["num_samples"] = steps
            # Longer than what HDF5 keeps within a group's own header.
            made.attrs["model_file"] = f"<mujoco>{demo}</mujoco>" * 2000
            for name, values in arrays_of(demo, steps).items():
                made[name] = values.astype(np.float64) if name == "rewards" else values
        mask = file.create_group("mask")
        mask["train"] = np.array(["demo_0", "demo_10"], dtype="S")
        mask["valid"] = np.array(["demo_2"], dtype="S")
    return path


def content(path):
    """Every array and attribute of a file, but our record."""
    found = {}

    def visit(name, item):
        found[name] = {
            k: v.tolist() if isinstance(v, np.ndarray) else v
            for k, v in item.attrs.items()
            if k != "egodtm_robot"
        }
        if isinstance(item, h5py.Dataset):
            found[name] |= {"dtype": item.dtype, "values": item[()].tobytes(), "shape": item.shape}

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def test_a_file_becomes_a_store(data, tmp_path):
    store = read(FORMAT, data, tmp_path / "store")
    origin = store.attributes.origin
    assert (origin.name, origin.robot_type, origin.fps) == ("Lift", "Panda", 20.0)
    assert store.attributes.cameras == ("agentview",)
    assert np.diff(store.episode_offsets).tolist() == [5, 7, 4]  # demo_10 comes after demo_2
    assert store.successes == [True, False, True]
    for index, (demo, steps) in enumerate(LENGTHS.items()):
        given, stored = arrays_of(demo, steps), store.episode(index)
        assert np.array_equal(stored["actions"], given["actions"].astype(np.float32))
        assert np.array_equal(stored["extra/actions"], given["actions"])  # float64, kept
        state = [given[f"obs/robot0_{n}"] for n in ("eef_pos", "eef_quat", "gripper_qpos")]
        assert np.array_equal(
            stored["proprioception"], np.concatenate(state, axis=1).astype(np.float32)
        )
        assert np.array_equal(stored["privileged"], given["obs/object"].astype(np.float32))
        assert np.array_equal(stored["rgb/agentview"], given["obs/agentview_image"])
        assert np.array_equal(stored["extra/obs/robot0_joint_pos"], given["obs/robot0_joint_pos"])


def test_everything_goes_back(data, tmp_path):
    out = written(FORMAT, read(FORMAT, data, tmp_path / "store"), tmp_path / "back.hdf5")
    before, after = content(data), content(out)
    assert before.keys() == after.keys()
    for name in before:
        assert before[name] == after[name], name


def test_images_may_be_compressed(data, tmp_path):
    store = read(FORMAT, data, tmp_path / "store")
    out = written(RobomimicFormat(compression="gzip"), store, tmp_path / "small.hdf5")
    assert content(out).keys() == content(data).keys()
    with h5py.File(out) as file:
        assert file["data/demo_0/obs/agentview_image"].compression == "gzip"


def test_a_split_alone(data, tmp_path):
    store = read(RobomimicFormat(split="train"), data, tmp_path / "store")
    assert np.diff(store.episode_offsets).tolist() == [5, 4]
    with pytest.raises(ConversionError, match="a split 'test' .* found train, valid"):
        read(RobomimicFormat(split="test"), data, tmp_path / "other")


def test_chosen_arrays(data, tmp_path):
    chosen = RobomimicFormat(proprioception=["obs/robot0_joint_pos"], privileged=["states"])
    store = read(chosen, data, tmp_path / "store")
    assert store.array("proprioception").spec.row_shape == (7,)
    assert store.array("privileged").spec.row_shape == (32,)


def lose_array(file):
    del file["data/demo_2/obs/object"]


def add_array(file):
    file["data/demo_2/obs/force"] = np.zeros((7, 3))


def shorten_array(file):
    values = file["data/demo_2/obs/object"][:-1]
    del file["data/demo_2/obs/object"]
    file["data/demo_2/obs/object"] = values


def lose_actions(file):
    del file["data/demo_2/actions"]


def lose_data(file):
    del file["data"]


def spoil_actions(file):
    del file["data/demo_2/actions"]
    file["data/demo_2/actions"] = 3.0


def change_actions(file):
    del file["data/demo_2/actions"]
    file["data/demo_2/actions"] = np.zeros((7, 6))


def change_images(file):
    del file["data/demo_2/obs/agentview_image"]
    file["data/demo_2/obs/agentview_image"] = np.zeros((7, 6, 6, 3), np.uint8)


def spoil_number(file):
    file["data/demo_2/actions"][1, 2] = np.nan


def spoil_arguments(file):
    file["data"].attrs["env_args"] = "[1]"


def empty_episode(file):
    demo = file["data/demo_2"]
    for name in [name for name, found in arrays_below(demo)]:
        values = demo[name][:0]
        del demo[name]
        demo[name] = values


def arrays_below(group):
    found = []
    group.visititems(
        lambda name, item: found.append((name, item)) if hasattr(item, "shape") else None
    )
    return found


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_actions, "Expected an array 'actions' in demo_2 .* no rows"),
        (change_actions, r"episode 1 of .* \(7,\) .* array 'actions'; got \(6,\)"),
        (change_images, r"episode 1 of .* \(8, 8\) of camera 'agentview', got \(6, 6\)"),
        (spoil_number, "episode 1 of .* finite numbers in 'actions', got nan at step 1"),
        (spoil_arguments, "Expected the data set .* readable, got AttributeError"),
        (empty_episode, "at least one step .* none in episode 1"),
        (lose_array, "Expected an array 'obs/object' in demo_2"),
        (add_array, "found further ones: obs/force"),
        (shorten_array, "Expected 7 rows of 'obs/object' in episode 1.*ragged"),
        (lose_actions, "Expected an array 'actions' in demo_2"),
        (lose_data, "with a group 'data'"),
    ],
)
def test_what_is_damaged_is_named(data, tmp_path, spoil, message):
    with h5py.File(data, "a") as file:
        spoil(file)
    with pytest.raises(ConversionError, match=message):
        read(FORMAT, data, tmp_path / "store")


def test_a_file_that_was_cut_short_is_named(data, tmp_path):
    data.write_bytes(data.read_bytes()[:5000])
    with pytest.raises(ConversionError, match="Expected a whole HDF5 file"):
        read(FORMAT, data, tmp_path / "store")


def test_damaged_bytes_are_named(data, tmp_path):
    content = bytearray(data.read_bytes())
    content[400:3000] = bytes(2600)
    data.write_bytes(content)
    with pytest.raises(ConversionError, match=r"readable|whole HDF5"):
        read(FORMAT, data, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_text_is_kept_and_goes_back(data, tmp_path):
    lines = ["reach", "grasp", "lift"]
    with h5py.File(data, "a") as file:
        for demo, steps in LENGTHS.items():
            text = (lines * steps)[:steps]
            file[f"data/{demo}"].create_dataset("skill", data=text, dtype=h5py.string_dtype())
    store = read(FORMAT, data, tmp_path / "store")
    assert store.notes(0)["texts"]["skill"] == (lines * 5)[:5]
    out = written(FORMAT, store, tmp_path / "back.hdf5")
    with h5py.File(out) as file:
        assert file["data/demo_0/skill"].asstr()[:3].tolist() == lines


def test_what_is_neither_number_nor_text_is_named(data, tmp_path):
    with h5py.File(data, "a") as file:
        file["data/demo_0/pairs"] = np.zeros(5, [("a", "f8"), ("b", "i4")])
    with pytest.raises(ConversionError, match="numbers or text in 'pairs'"):
        read(FORMAT, data, tmp_path / "store")
