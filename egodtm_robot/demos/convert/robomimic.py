"""robomimic's HDF5 files.

The layout is that of robomimic 0.3 and later (https://robomimic.github.io/docs/datasets/overview.html)::

    data                        attributes: total, env_args (JSON)
      demo_0                    attributes: num_samples, model_file
        actions (T, A)  states (T, S)  rewards (T,)  dones (T,)
        obs/<name> (T, ...)     next_obs/<name> (T, ...)
    mask/<name>                 names of the demonstrations of a split
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from egodtm_robot.demos.attributes import DemonstrationAttributes, foreign_attributes
from egodtm_robot.demos.convert.columnar import ColumnarFormat, ColumnarSource
from egodtm_robot.demos.convert.contract import ConversionError, Part
from egodtm_robot.demos.convert.damage import reading
from egodtm_robot.demos.convert.hdf5 import (
    columns_below,
    join_parts,
    json_attribute,
    open_hdf5,
    plain_attributes,
    read_texts,
    text_columns,
    write_array,
    write_texts,
)
from egodtm_robot.demos.convert.packages import convert_package
from egodtm_robot.demos.convert.record import (
    RECORD_NAME,
    Record,
    episode_record,
    record_of,
)
from egodtm_robot.demos.convert.roles import (
    Column,
    Roles,
    assign_roles,
    camera_names,
    choose_cameras,
)
from egodtm_robot.demos.episode import Episode
from egodtm_robot.demos.origin import Origin
from egodtm_robot.demos.store import DemonstrationStore

_NAMES = {
    "actions": "actions",
    "simulator_state": "states",
    "proprioception": "obs/proprioception",
    "privileged": "obs/object",
}


@dataclass
class RobomimicFormat(ColumnarFormat):
    """robomimic's HDF5 files."""

    packages = ("h5py",)
    kind = "robomimic"

    actions: str = "actions"
    """Read: the array of actions."""

    proprioception: list[str] | None = None
    """Read: arrays that make the robot's state, in this order; null takes those of ``obs`` that
    robomimic trains on by default: position and rotation of the hand, and the gripper's joints."""

    privileged: list[str] | None = None
    """Read: arrays that make the world's state; null takes ``obs/object`` if it is there."""

    cameras: list[str] | None = None
    """Cameras to convert; null takes all images of ``obs``."""

    split: str | None = None
    """Read: only the demonstrations that ``mask/<split>`` names, such as ``train``; null takes
    all."""

    compression: Literal["gzip", "lzf"] | None = None
    """Write: how images are compressed; null as robomimic does it, not at all."""

    def open(self, path: Path) -> "RobomimicSource":
        """A file; see :meth:`DemonstrationFormat.open`."""
        return RobomimicSource(path, self)

    @staticmethod
    def default_column(name: str) -> str:
        """See :class:`ColumnarFormat`."""
        if name.startswith("rgb/"):
            return f"obs/{name.removeprefix('rgb/')}_image"
        return _NAMES.get(name, name)

    def write_part(self, store: DemonstrationStore, index: int, folder: Path) -> dict[str, Any]:
        """Write one demonstration."""
        h5py = convert_package("h5py", self.kind)
        columns = self.columns(store)
        arrays = store.episode(index, list(columns))
        steps = int(np.diff(store.episode_offsets)[index])
        record = episode_record(store, index)
        with h5py.File(folder / "episode.hdf5", "w", libver="latest") as file:
            demo = file.create_group("episode")
            for name, column in columns.items():
                write_array(demo, column, arrays[name], self.compression)
            # Whoever reads rewards and ends finds them where the store has none of its own.
            ends = np.zeros(steps)
            ends[-1] = 1.0
            if "rewards" not in columns.values() and None not in store.successes:
                write_array(demo, "rewards", ends * float(record["success"]), None)
            if "dones" not in columns.values():
                write_array(demo, "dones", ends.astype(np.int64), None)
            write_texts(demo, record["notes"].get("texts", {}))
            for name, value in record["notes"].get("attributes", {}).items():
                demo.attrs[name] = value
            demo.attrs["num_samples"] = steps
            demo.attrs[RECORD_NAME] = json.dumps(record, sort_keys=True)
        return {"steps": steps}

    def merge(self, store: DemonstrationStore, parts: Sequence[Part], out: Path) -> None:
        """Join the demonstrations."""
        h5py = convert_package("h5py", self.kind)
        known = self.metadata(store)
        names = known.get("demos") or [f"demo_{part.index}" for part in parts]
        record = record_of(store, self.columns(store))
        data = known.get("attributes") or {"env_args": json.dumps(self._env_args(store))}
        data |= {
            "total": sum(part.facts["steps"] for part in parts),
            RECORD_NAME: json.dumps(record, sort_keys=True),
        }
        join_parts(parts, out, names, below="data", attributes={"data": data})
        masks: Mapping[str, list[str]] = known.get("masks", {})
        if masks:
            with h5py.File(out, "a", libver="latest") as file:
                for name, demos in masks.items():
                    values = np.array(demos, dtype="S")
                    file.require_group("mask").create_dataset(name, data=values, track_times=False)

    def _env_args(self, store: DemonstrationStore) -> dict[str, Any]:
        """What robomimic makes an environment from: type 2 is a Gymnasium environment."""
        attributes = store.attributes
        return {
            "env_name": attributes.environment,
            "type": 2,
            "env_kwargs": {"task": attributes.task},
        }


class RobomimicSource(ColumnarSource):
    """A file of robomimic, open for reading.

    Args:
        path: of the file.
        options: which arrays, cameras and demonstrations to take.
    """

    def __init__(self, path: Path, options: RobomimicFormat) -> None:
        self.path = Path(path)
        self._file = open_hdf5(self.path, RobomimicFormat.kind)
        if "data" not in self._file:
            raise ConversionError(
                f"Expected a file of robomimic at {self.path}, with a group 'data', found "
                f"{', '.join(self._file) or 'nothing'}."
            )
        self._data = self._file["data"]
        self._demos = self._chosen(options.split)
        first = self._data[self._demos[0]]
        self._layout = columns_below(first)
        values = json_attribute(self._data.attrs, RECORD_NAME, str(self.path))
        self._record = Record.find(values, self.lengths)
        self._roles = self._assign(options)

    def own_attributes(self) -> DemonstrationAttributes:
        """See :class:`ColumnarSource`."""
        attributes = plain_attributes(self._data.attrs)
        attributes.pop(RECORD_NAME, None)
        environment = json_attribute(self._data.attrs, "env_args", str(self.path)) or {}
        masks = {
            name: [bytes(demo).decode() for demo in self._file["mask"][name][:]]
            for name in self._file.get("mask", {})
        }
        rate = environment.get("env_kwargs", {}).get("control_freq")
        origin = Origin(
            format=RobomimicFormat.kind,
            version=str(environment.get("env_version", "")),
            name=str(environment.get("env_name") or self.path.stem),
            fps=None if rate is None else float(rate),
            robot_type=_robots(environment),
            resolutions={
                name: (column.row_shape[0], column.row_shape[1])
                for name, column in self._roles.cameras.items()
            },
            columns=self._roles.columns,
            metadata={"attributes": attributes, "demos": self._demos, "masks": masks},
        )
        return foreign_attributes(origin)

    @cached_property
    def lengths(self) -> list[int]:
        """See :class:`DemonstrationSource`."""
        return [len(self._actions(demo)) for demo in self._demos]

    def read(self, index: int) -> Episode:
        """See :class:`DemonstrationSource`."""
        name = self._demos[index]
        demo, steps = self._data[name], self.lengths[index]
        what = f"{name} of {self.path}"

        def column(path: str) -> np.ndarray:
            if path not in demo:
                raise ConversionError(
                    f"Expected an array {path!r} in {what}, as the first demonstration has it, "
                    "found none. Repair the file, or remove the demonstration."
                )
            with reading(f"{path!r} of {what}"):
                return np.asarray(demo[path][()])

        if self._record is not None:
            facts = json_attribute(demo.attrs, RECORD_NAME, what)
            return self._record.episode(facts, steps, column)
        further = set(columns_below(demo)) - set(self._layout)
        if further:
            raise ConversionError(
                f"Expected the arrays of the first demonstration in {what}, found further ones: "
                f"{', '.join(sorted(further))}. Remove them there, or split the file."
            )
        success = None
        if "rewards" in demo and demo["rewards"].shape == (steps,):
            # robomimic's data sets have a reward of 1 where the task is solved.
            success = bool((column("rewards") > 0).any())
        notes: dict[str, Any] = {"attributes": plain_attributes(demo.attrs)}
        notes["attributes"].pop(RECORD_NAME, None)
        if self._texts:
            notes["texts"] = read_texts(demo, self._texts)
        return self._roles.episode(
            lambda found: column(found.name),
            steps=steps,
            number=index,
            success=success,
            notes=notes,
        )

    def close(self) -> None:
        """See :class:`DemonstrationSource`."""
        self._file.close()

    # -- what lies there -----------------------------------------------------------------------

    def _chosen(self, split: str | None) -> list[str]:
        demos = list(self._data)
        if split is not None:
            masks = list(self._file.get("mask", {}))
            if split not in masks:
                raise ConversionError(
                    f"Expected a split {split!r} in 'mask' of {self.path}, found "
                    f"{', '.join(masks) or 'none'}. Name one of these in format.split."
                )
            wanted = {bytes(demo).decode() for demo in self._file["mask"][split][:]}
            demos = [demo for demo in demos if demo in wanted]
        if not demos:
            raise ConversionError(f"Expected demonstrations in {self.path}, found none.")
        return sorted(demos, key=_number)

    def _actions(self, demo: str) -> Any:
        found = self._data[demo].get("actions")
        if not getattr(found, "shape", None):
            raise ConversionError(
                f"Expected an array 'actions' in {demo} of {self.path}, found "
                f"{'none' if found is None else 'no rows'}. Repair the file, or remove the "
                "demonstration."
            )
        return found

    def _assign(self, options: RobomimicFormat) -> Roles:
        columns = []
        self._texts = text_columns(self._layout, str(self.path))
        for name, (dtype, shape) in self._layout.items():
            if name in self._texts:
                continue
            if len(shape) < 1:
                raise ConversionError(
                    f"Expected a row for every step in {name!r} of {self.path}, got one number."
                )
            columns.append(Column(name, np.dtype(dtype), shape[1:]))
        images = [
            column.name
            for column in columns
            if column.name.startswith("obs/")
            and len(column.row_shape) == 3
            and column.row_shape[2] == 3
            and column.dtype == np.uint8
        ]
        cameras, left_out = choose_cameras(
            camera_names(images, prefix="obs/", suffix="_image"), options.cameras, str(self.path)
        )
        state = options.proprioception
        if state is None:
            state = [
                name for name in self._layout if name == _NAMES["proprioception"] or _is_hand(name)
            ]
        world = options.privileged
        if world is None:
            world = [_NAMES["privileged"]] if _NAMES["privileged"] in self._layout else []
        return assign_roles(
            columns,
            data_set=str(self.path),
            actions=[options.actions],
            proprioception=state,
            privileged=world,
            cameras=cameras,
            left_out=left_out,
        )


def _is_hand(name: str) -> bool:
    """Whether robomimic's own configurations read an array as the robot's state."""
    robot, _, what = name.removeprefix("obs/").partition("_")
    return robot.startswith("robot") and what in ("eef_pos", "eef_quat", "gripper_qpos")


def _robots(environment: Mapping[str, Any]) -> str | None:
    robots = environment.get("env_kwargs", {}).get("robots")
    if robots is None:
        return None
    return robots if isinstance(robots, str) else " ".join(map(str, robots))


def _number(demo: str) -> tuple[int, str]:
    digits = demo.rpartition("_")[2]
    return (int(digits) if digits.isdigit() else 0, demo)
