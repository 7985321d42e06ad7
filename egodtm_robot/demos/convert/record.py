"""What a data set that was written here says of the store that it was made of.

It lies beside the format's own data, where other readers do not look, and lets the store be made
again: attributes, seeds, what resets randomized, and the names and types of all arrays.
"""

import base64
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from egodtm_robot.demos.attributes import DemonstrationAttributes
from egodtm_robot.demos.convert.contract import ConversionError
from egodtm_robot.demos.convert.roles import choose_cameras
from egodtm_robot.demos.episode import Episode
from egodtm_robot.demos.store import DemonstrationStore

RECORD_NAME = "egodtm_robot"
"""What the record is called, whatever the format keeps it in."""

_VERSION = 1
_EXPORTED = ("actions", "proprioception", "privileged", "simulator_state", "task_index")


def exported_columns(
    store: DemonstrationStore,
    kind: str,
    default: Callable[[str], str],
    cameras: Sequence[str] | None,
) -> dict[str, str]:
    """For each array of a store that a format is to hold, its column there.

    A store that came from this format gets the names that it had there; the format's defaults are
    for others. Arrays without numbers and those that were derived (depth, images of another
    resolution, features) are left out.

    Args:
        store: to be written.
        kind: of the format.
        default: gives the column of an array.
        cameras: names of cameras, or of their columns; None for all.

    Raises:
        ConversionError: there is no camera of a name.
    """
    origin = store.attributes.origin
    if origin is not None and origin.format == kind:
        columns = {name: c for name, c in origin.columns.items() if name in store.array_names}
    else:
        columns = {
            name: default(name)
            for name in store.array_names
            if name.startswith(("rgb/", "extra/")) or name in _EXPORTED
            if np.prod(store.array(name).spec.row_shape) > 0
        }
    available = {n.removeprefix("rgb/"): c for n, c in columns.items() if n.startswith("rgb/")}
    _, left_out = choose_cameras(available, cameras, str(store.path))
    return {name: column for name, column in columns.items() if column not in left_out}


def record_of(store: DemonstrationStore, columns: Mapping[str, str]) -> dict[str, Any]:
    """The record of a store, less what is said of each episode.

    Args:
        store: that is written.
        columns: for each array that is, its column.
    """
    cameras = tuple(name.removeprefix("rgb/") for name in columns if name.startswith("rgb/"))
    attributes = dataclasses.replace(
        store.attributes,
        cameras=cameras,
        camera_poses={c: pose for c, pose in store.camera_poses.items() if c in cameras},
    )
    names = [name for name in store.array_names if name in columns or name in _EXPORTED]
    return {
        "version": _VERSION,
        "lengths": np.diff(store.episode_offsets).tolist(),
        "attributes": dataclasses.asdict(attributes),
        "arrays": {
            name: {
                "dtype": store.array(name).spec.dtype,
                "row_shape": list(store.array(name).spec.row_shape),
                "column": columns.get(name),
            }
            for name in names
        },
    }


def episode_record(store: DemonstrationStore, index: int) -> dict[str, Any]:
    """What a record says of one episode."""
    return {
        "seed": int(store.seeds[index]),
        "success": store.successes[index],
        "notes": store.notes(index),
        "reset": {name: encode_array(a) for name, a in store.reset_record(index).items()},
    }


@dataclass(frozen=True)
class Record:
    """A record that was found in a data set.

    Attributes:
        attributes: of the store.
        arrays: by name their ``dtype``, ``row_shape`` and ``column``.
    """

    attributes: DemonstrationAttributes
    arrays: Mapping[str, Mapping[str, Any]]

    @classmethod
    def find(cls, values: Mapping[str, Any] | None, lengths: Sequence[int]) -> "Record | None":
        """The record, unless there is none or the data set was changed since.

        Args:
            values: what the data set holds of it.
            lengths: steps of each episode of the data set.
        """
        if values is None or values.get("version") != _VERSION:
            return None
        if list(values["lengths"]) != list(lengths):
            return None
        return cls(DemonstrationAttributes.from_json(values["attributes"]), values["arrays"])

    @property
    def rows(self) -> dict[str, tuple[Sequence[int], str]]:
        """For each array of the store the (shape, dtype) of a row."""
        return {name: (spec["row_shape"], spec["dtype"]) for name, spec in self.arrays.items()}

    def episode(
        self, facts: Mapping[str, Any], steps: int, read: Callable[[str], np.ndarray]
    ) -> Episode:
        """An episode as the store had it.

        Args:
            facts: of the episode, see :func:`episode_record`.
            steps: its length T.
            read: gives the rows (T, ...) of a column.

        Raises:
            ConversionError: a column is not what the record says.
        """
        arrays = {}
        for name, spec in self.arrays.items():
            shape = (steps, *spec["row_shape"])
            if spec["column"] is None:
                if np.prod(spec["row_shape"]) == 0:
                    arrays[name] = np.zeros(shape, spec["dtype"])
                continue
            found = np.asarray(read(spec["column"]))
            values = found.astype(spec["dtype"])
            if found.size != np.prod(shape) or not np.array_equal(
                values, found, equal_nan=found.dtype.kind == "f"
            ):
                raise ConversionError(
                    f"Expected {shape} {spec['dtype']} in the column {spec['column']!r}, as its "
                    f"{RECORD_NAME} record says, got {found.shape} {found.dtype}. The data set was "
                    "changed: remove the record, so that it is read as any other."
                )
            arrays[name] = values.reshape(shape)
        extra = {n.removeprefix("extra/"): a for n, a in arrays.items() if n.startswith("extra/")}
        images = {n.removeprefix("rgb/"): a for n, a in arrays.items() if n.startswith("rgb/")}
        none = np.zeros((steps, 0), np.float32)
        return Episode(
            rgb=images,
            proprioception=arrays.get("proprioception", none),
            privileged=arrays.get("privileged", none),
            actions=arrays["actions"],
            simulator_state=arrays.get("simulator_state", none.astype(np.float64)),
            reset={name: decode_array(value) for name, value in facts["reset"].items()},
            seed=int(facts["seed"]),
            success=facts["success"],
            task_index=arrays.get("task_index"),
            extra=extra,
            notes=facts["notes"],
        )


def encode_array(values: np.ndarray) -> dict[str, Any]:
    """An array of numbers as JSON, exactly."""
    values = np.asarray(values)
    content = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    return {
        "dtype": values.dtype.name,
        "shape": list(values.shape),
        "base64": base64.b64encode(content).decode(),
    }


def decode_array(value: Mapping[str, Any]) -> np.ndarray:
    """The array that :func:`encode_array` was given."""
    content = base64.b64decode(value["base64"])
    dtype = np.dtype(value["dtype"])
    values = np.frombuffer(content, dtype.newbyteorder("<")).reshape(value["shape"])
    return values.astype(dtype)
