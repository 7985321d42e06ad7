"""R3M's pickles are read, and nothing in them is run."""

import io
import os
import pickle
import pickletools
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.demos.convert.contract import ConversionError
from egodtm_robot.demos.convert.r3m_paths import R3MPathsFormat
from egodtm_robot.demos.convert.restricted_pickle import UnsafePickleError, load_arrays
from egodtm_robot.demos.origin import Origin

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_conversions import read, written
from fake_foreign_stores import make_foreign_store

FORMAT = R3MPathsFormat(camera="left_cap2")


def paths():
    generator = np.random.default_rng(0)
    return [
        {
            "observations": generator.normal(size=(steps, 6)),
            "actions": generator.uniform(-1, 1, (steps, 3)),
            "rewards": generator.normal(size=steps),
            "images": generator.integers(0, 256, (steps, 8, 8, 3), dtype=np.uint8),
            "env_infos": {"solved": np.arange(steps) == 5, "time": np.arange(steps) * 0.1},
            "init_state_dict": {"qpos": generator.normal(size=4), "kind": "fk1"},
            "terminated": np.bool_(True),
        }
        for steps in (4, 7)
    ]


def dump(value, path, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_paths_become_a_store(tmp_path, protocol):
    given = paths()
    data = dump(given, tmp_path / "kitchen_light_on-v3.pickle", protocol)
    store = read(FORMAT, data, tmp_path / "store")
    assert store.attributes.origin.name == "kitchen_light_on-v3"
    assert store.attributes.cameras == ("left_cap2",)
    assert store.successes == [False, True]
    for index, path in enumerate(given):
        stored = store.episode(index)
        assert np.array_equal(stored["actions"], path["actions"].astype(np.float32))
        assert np.array_equal(stored["extra/actions"], path["actions"])
        assert np.array_equal(stored["extra/observations"], path["observations"])
        assert np.array_equal(stored["rgb/left_cap2"], path["images"])
        assert np.array_equal(stored["extra/env_infos/time"], path["env_infos"]["time"])
        notes = store.notes(index)["path"]
        assert notes["init_state_dict/kind"] == "fk1"
        assert notes["init_state_dict/qpos"]["shape"] == [4]
        assert notes["terminated"] is True


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_arrays_of_every_kind_and_protocol(tmp_path, protocol):
    value = {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">i4"),
        "text": np.array(["left", "right"]),
        "empty": np.zeros((0, 3), np.float32),
        "number": np.float32(0.5),
        "nested": [(1, 2.5, None, True, b"bytes", "text"), {"a": np.arange(2)}, {3, 4}],
        "ordered": OrderedDict(first=np.arange(3)),
        "large": np.random.default_rng(0).integers(0, 255, 100_000, dtype=np.uint8),
    }
    found = load_arrays(dump(value, tmp_path / "values.pickle", protocol))
    assert found.keys() == value.keys()
    for name in ("fortran", "big", "text", "empty", "large"):
        assert found[name].dtype == value[name].dtype
        assert np.array_equal(found[name], value[name])
    assert found["number"] == np.float32(0.5)
    assert found["nested"][0] == value["nested"][0]
    assert found["nested"][2] == {3, 4}
    assert np.array_equal(found["ordered"]["first"], np.arange(3))


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class State:
    """Pickles as an array, or a type, with a state of its own."""

    def __init__(self, made, state):
        self.made, self.state = made, state

    def __reduce__(self):
        return (*self.made, self.state)


RECONSTRUCT = np.zeros(1).__reduce__()[0]
ARRAY = (RECONSTRUCT, (np.ndarray, (0,), b"b"))


@pytest.mark.parametrize(
    "hostile",
    [
        lambda mark: Call(os.system, f"touch {mark}"),
        lambda mark: Call(eval, f"open({str(mark)!r}, 'w')"),
        lambda mark: Call(Path, mark),
        lambda mark: Call(np.load, str(mark)),
        lambda mark: Call(io.open, str(mark), "w"),
        lambda mark: Call(getattr, "text", "join"),
        lambda mark: Call(pickle.loads, b"N."),
        lambda mark: Call(np.ndarray, (2,), "O", bytes(16)),
        lambda mark: np.array([Call(os.system, f"touch {mark}")], dtype=object),
        lambda mark: np.array([1, "a"], dtype=object),
        lambda mark: np.zeros(2, dtype=[("a", "f8")]),
        lambda mark: State(ARRAY, (1, (2,), np.dtype("O"), False, [1, 2])),
        lambda mark: Origin("a", "b", "c"),
    ],
)
def test_hostile_pickles_are_refused(tmp_path, hostile):
    mark = tmp_path / "run"
    for protocol in (2, 4):
        data = dump([{"actions": hostile(mark)}], tmp_path / "paths.pickle", protocol)
        with pytest.raises(ConversionError):
            load_arrays(data)
        assert not mark.exists()


def test_a_type_that_claims_to_hold_pointers_holds_numbers(tmp_path):
    """NumPy takes flags from a pickle that make it read numbers as addresses; they are ignored."""
    flags = 63
    kind = State((np.dtype, ("i8", False, True)), (4, "|", None, None, None, 8, 8, flags))
    array = State(ARRAY, (1, (2,), kind, False, bytes(16)))
    found = load_arrays(dump(array, tmp_path / "array.pickle"))
    assert found.dtype == np.int64
    assert not found.dtype.hasobject
    assert found.tolist() == [0, 0]


def test_the_name_is_told(tmp_path):
    data = dump([Call(os.system, "true")], tmp_path / "paths.pickle")
    with pytest.raises(UnsafePickleError, match=r"names posix\.system.* It was not called"):
        load_arrays(data)
    assert "system" in "".join(str(arg) for _, arg, _ in pickletools.genops(data.read_bytes()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "whole pickle"),
        (b"hello", "whole pickle"),
        (pickle.dumps(paths())[:-100], "whole pickle"),
        (pickle.dumps({"a": 1}), "Expected a list of paths"),
        (pickle.dumps([]), "Expected a list of paths"),
        (pickle.dumps([{"observations": np.zeros((2, 3))}]), "an array 'actions' as path 0"),
    ],
)
def test_what_is_no_list_of_paths_is_named(tmp_path, content, message):
    data = tmp_path / "paths.pickle"
    data.write_bytes(content)
    with pytest.raises(ConversionError, match=message):
        read(FORMAT, data, tmp_path / "store")


def test_ragged_paths_are_named(tmp_path):
    spoiled = paths()
    spoiled[1]["observations"] = spoiled[1]["observations"][:-2]
    data = dump(spoiled, tmp_path / "paths.pickle")
    with pytest.raises(ConversionError, match="Expected 7 rows of 'observations' in episode 1"):
        read(FORMAT, data, tmp_path / "store")


def lose_images(path):
    del path["images"]


def make_actions_a_number(path):
    path["actions"] = 3.0


def change_actions(path):
    path["actions"] = path["actions"][:, :2]


def change_images(path):
    path["images"] = path["images"][:, :6]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lose_images, "array 'images' in path 1"),
        (make_actions_a_number, "array 'actions' as path 1 .* dict with float"),
        (change_actions, r"episode 1 of .* array 'actions'; got \(2,\)"),
        (change_images, r"episode 1 of .* of camera 'left_cap2', got \(6, 8\)"),
    ],
)
def test_a_path_unlike_the_first_is_named(tmp_path, spoil, message):
    spoiled = paths()
    spoil(spoiled[1])
    with pytest.raises(ConversionError, match=message):
        read(FORMAT, dump(spoiled, tmp_path / "paths.pickle"), tmp_path / "store")


def test_a_state_that_is_no_array_is_named(tmp_path):
    spoiled = paths()
    spoiled[0]["observations"] = spoiled[0]["observations"].tolist()
    with pytest.raises(ConversionError, match="array 'observations' in path 0 .* got list"):
        read(FORMAT, dump(spoiled, tmp_path / "paths.pickle"), tmp_path / "store")


def test_pickles_are_not_written(tmp_path):
    store = make_foreign_store(tmp_path / "store", 1)
    with pytest.raises(ConversionError, match="r3m_paths, which is only read"):
        written(FORMAT, store, tmp_path / "paths.pickle")
