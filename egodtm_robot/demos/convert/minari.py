"""Minari's data sets, in HDF5.

The layout is that of Minari 0.5 (https://minari.farama.org/main/content/dataset_standards/)::

    data/metadata.json          spaces, numbers of episodes and steps, versions
    data/main_data.hdf5         a group for every episode:
      episode_0                 attributes: id, seed, total_steps, options
        observations (T + 1, ...)   or a group of such arrays
        actions (T, ...)  rewards (T,)  terminations (T,)  truncations (T,)
        infos/<name> (T + 1, ...)

An episode has one observation more than actions: the last one is kept in the episode's ``notes``.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from egodtm_robot.demos.attributes import DemonstrationAttributes, foreign_attributes
from egodtm_robot.demos.convert.columnar import ColumnarFormat, ColumnarSource
from egodtm_robot.demos.convert.contract import ConversionError, Part
from egodtm_robot.demos.convert.damage import reading
from egodtm_robot.demos.convert.hdf5 import (
    columns_below,
    join_parts,
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
    decode_array,
    encode_array,
    episode_record,
    record_of,
)
from egodtm_robot.demos.convert.roles import (
    Column,
    Roles,
    assign_roles,
    camera_names,
    choose_cameras,
    safe_name,
)
from egodtm_robot.demos.episode import Episode
from egodtm_robot.demos.origin import Origin
from egodtm_robot.demos.store import DemonstrationStore

VERSION = "0.5.4"
"""Version of Minari whose layout is written."""

_METADATA = "metadata.json"
_MAIN = "main_data.hdf5"
_OBSERVATIONS = "observations"
_NAMES = {
    "actions": "actions",
    "proprioception": f"{_OBSERVATIONS}/proprioception",
    "privileged": f"{_OBSERVATIONS}/privileged",
    "simulator_state": "infos/simulator_state",
    "task_index": "infos/task_index",
}
_ONE_MORE = (_OBSERVATIONS, "infos")
_SUCCESS = "infos/success"
_SPACES = ("observation_space", "action_space")


@dataclass
class MinariFormat(ColumnarFormat):
    """Minari's data sets in HDF5."""

    packages = ("h5py",)
    kind = "minari"

    actions: str = "actions"
    """Read: the array of actions."""

    proprioception: list[str] | None = None
    """Read: arrays that make the robot's state, in this order; null takes ``observations`` where
    they are one vector, else ``observations/observation`` if it is there."""

    privileged: list[str] | None = None
    """Read: arrays that make the world's state; null takes ``observations/privileged`` if it is
    there."""

    cameras: list[str] | None = None
    """Cameras to convert; null takes all observations that are images."""

    compression: Literal["gzip", "lzf"] | None = "gzip"
    """Write: how images are compressed; without loss, unlike Minari's own JPEG."""

    dataset_id: str | None = None
    """Write: what Minari is to call the data set, as in ``group/name-v0``; null makes it of the
    task's name."""

    def open(self, path: Path) -> "MinariSource":
        """A data set; see :meth:`DemonstrationFormat.open`."""
        return MinariSource(path, self)

    @staticmethod
    def default_column(name: str) -> str:
        """See :class:`ColumnarFormat`."""
        if name.startswith("rgb/"):
            return f"{_OBSERVATIONS}/{name.removeprefix('rgb/')}"
        return _NAMES.get(name, f"infos/{name.removeprefix('extra/')}")

    def write_part(self, store: DemonstrationStore, index: int, folder: Path) -> dict[str, Any]:
        """Write one episode."""
        h5py = convert_package("h5py", self.kind)
        columns = self.columns(store)
        arrays = store.episode(index, list(columns))
        steps = int(np.diff(store.episode_offsets)[index])
        record = episode_record(store, index)
        final = record["notes"].get("final", {})
        known = self.metadata(store).get("one_more")
        with h5py.File(folder / "episode.hdf5", "w", libver="latest") as file:
            episode = file.create_group("episode", track_order=True)
            for name, column in columns.items():
                values = arrays[name]
                more = column in known if known else column.split("/")[0] in _ONE_MORE
                if more:
                    last = decode_array(final[column])[None] if column in final else values[-1:]
                    values = np.concatenate([values, last.astype(values.dtype)])
                write_array(episode, column, values, self.compression)
            solved = float(record["success"] or False)
            ends = np.arange(steps) == steps - 1
            for column, default in (
                ("rewards", ends * solved),
                ("terminations", ends & (solved > 0)),
                ("truncations", ends & (solved == 0)),
            ):
                if column not in columns.values():
                    write_array(episode, column, default, None)
            write_texts(episode, record["notes"].get("texts", {}))
            for name, value in record["notes"].get("attributes", {}).items():
                episode.attrs[name] = value
            episode.attrs["id"] = index
            episode.attrs["total_steps"] = steps
            if "attributes" not in record["notes"]:
                episode.attrs["seed"] = record["seed"]
        return {"steps": steps, "record": record}

    def merge(self, store: DemonstrationStore, parts: Sequence[Part], out: Path) -> None:
        """Join the episodes."""
        data = out / "data"
        data.mkdir(parents=True)
        names = [f"episode_{part.index}" for part in parts]
        join_parts(parts, data / _MAIN, names, attributes={})
        columns = self.columns(store)
        record = record_of(store, columns)
        record["episodes"] = [part.facts["record"] for part in parts]
        known = dict(self.metadata(store).get("metadata", {}))
        for space in _SPACES:
            if space in known:
                known[space] = json.dumps(_with_whole_bounds(known[space]))
        metadata = {
            "dataset_id": f"{safe_name(store.attributes.task).replace('/', '-')}-v0",
            "observation_space": json.dumps(self._observation_space(store, columns)),
            "action_space": json.dumps(self._action_space(store)),
            **known,
            **({} if self.dataset_id is None else {"dataset_id": self.dataset_id}),
            "total_episodes": len(parts),
            "total_steps": sum(part.facts["steps"] for part in parts),
            "data_format": "hdf5",
            "jpeg_encoding": False,
            "minari_version": VERSION,
        }
        (data / _METADATA).write_text(json.dumps(metadata, sort_keys=True))
        # Beside Minari's own file, whose unknown keys it passes over but does not keep.
        (data / f"{RECORD_NAME}.json").write_text(json.dumps(record, sort_keys=True))

    def _observation_space(
        self, store: DemonstrationStore, columns: Mapping[str, str]
    ) -> dict[str, Any]:
        spaces = {}
        for name, column in columns.items():
            first, _, rest = column.partition("/")
            if first == _OBSERVATIONS:
                spec = store.array(name).spec
                spaces[rest] = _box(spec.row_shape, np.dtype(spec.dtype))
        return {"type": "Dict", "subspaces": spaces}

    def _action_space(self, store: DemonstrationStore) -> dict[str, Any]:
        spec = store.array("actions").spec
        bound = np.inf if store.attributes.foreign else 1.0
        return _box(spec.row_shape, np.dtype(spec.dtype), bound)


class MinariSource(ColumnarSource):
    """A data set of Minari, open for reading.

    Args:
        path: folder of the data set, or its folder ``data``.
        options: which arrays and cameras to take.
    """

    def __init__(self, path: Path, options: MinariFormat) -> None:
        self.path = Path(path)
        data = self.path / "data" if (self.path / "data").is_dir() else self.path
        if not (data / _METADATA).is_file():
            raise ConversionError(
                f"Expected a data set of Minari at {self.path}, but there is no {_METADATA}. Name "
                "the folder that holds data."
            )
        try:
            self._metadata = json.loads((data / _METADATA).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConversionError(f"Expected JSON in {data / _METADATA}, got {error}.") from error
        form = self._metadata.get("data_format", "hdf5")
        if form != "hdf5":
            raise ConversionError(
                f"Expected a data set of Minari in HDF5 at {self.path}, got {form!r}. Write it "
                "again with Minari: minari.create_dataset_from_buffers(..., data_format='hdf5')."
            )
        self._file = open_hdf5(data / _MAIN, MinariFormat.kind)
        self._names = [f"episode_{n}" for n in range(int(self._metadata["total_episodes"]))]
        missing = [name for name in self._names if name not in self._file]
        if missing or not self._names:
            raise ConversionError(
                f"Expected {len(self._names)} episodes in {data / _MAIN}, as {_METADATA} says, "
                f"missing {', '.join(missing[:3]) or 'all'}. Copy the data set again."
            )
        self._layout = columns_below(self._file[self._names[0]])
        if options.actions not in self._layout:
            raise ConversionError(
                f"Expected an array {options.actions!r} in {self._names[0]} of {data / _MAIN}, "
                f"found {', '.join(self._layout)}."
            )
        self._actions = options.actions
        self._pictures = self._find_pictures()
        record = data / f"{RECORD_NAME}.json"
        values: Any = json.loads(record.read_text()) if record.is_file() else None
        self._record = Record.find(values, self.lengths)
        self._record_episodes = values["episodes"] if self._record else []
        self._roles = self._assign(options)

    def own_attributes(self) -> DemonstrationAttributes:
        """See :class:`ColumnarSource`."""
        computed = ("total_episodes", "total_steps", "jpeg_encoding", "dataset_size")
        kept = {k: v for k, v in self._metadata.items() if k not in computed}
        for space in _SPACES:
            if space in kept:
                kept[space] = _with_short_bounds(json.loads(kept[space]))
        name = str(self._metadata.get("dataset_id") or self.path.name)
        origin = Origin(
            format=MinariFormat.kind,
            version=str(self._metadata.get("minari_version", "")),
            name=name,
            resolutions={
                camera: (column.row_shape[0], column.row_shape[1])
                for camera, column in self._roles.cameras.items()
            },
            columns=self._roles.columns,
            metadata={"metadata": kept, "one_more": sorted(self._one_more)},
        )
        return foreign_attributes(origin)

    @cached_property
    def lengths(self) -> list[int]:
        """See :class:`DemonstrationSource`."""
        with reading(f"the episodes of {self.path}"):
            return [int(self._file[name][self._actions].shape[0]) for name in self._names]

    def read(self, index: int) -> Episode:
        """See :class:`DemonstrationSource`."""
        episode, steps = self._file[self._names[index]], self.lengths[index]
        what = f"{self._names[index]} of {self.path}"

        def column(path: str) -> np.ndarray:
            if path not in episode:
                raise ConversionError(
                    f"Expected an array {path!r} in {what}, as the first episode has it, found "
                    "none. Repair the data set with Minari."
                )
            with reading(f"{path!r} of {what}"):
                values = episode[path][()]
            if path in self._pictures:
                values = _decoded(values, f"{path!r} of {what}")
            return np.asarray(values)

        if self._record is not None:
            facts = self._record_episodes[index]
            return self._record.episode(facts, steps, lambda path: column(path)[:steps])
        final: dict[str, Any] = {}

        def rows(found: Column) -> np.ndarray:
            values = column(found.name)
            if found.name in self._one_more and len(values) == steps + 1:
                final[found.name] = encode_array(values[-1])
                values = values[:-1]
            return values

        success = None
        if _SUCCESS in episode and episode[_SUCCESS].dtype == np.bool_:
            success = bool(column(_SUCCESS).any())
        attributes = plain_attributes(episode.attrs)
        texts = read_texts(episode, self._texts)
        notes: dict[str, Any] = {"attributes": attributes, "final": final}
        if texts:
            notes["texts"] = texts
        made = self._roles.episode(rows, steps=steps, number=index, success=success, notes=notes)
        made.notes["final"] = final  # filled while the rows were read
        return made

    def close(self) -> None:
        """See :class:`DemonstrationSource`."""
        self._file.close()

    # -- what lies there -----------------------------------------------------------------------

    def _find_pictures(self) -> dict[str, tuple[int, ...]]:
        """Images that are stored as JPEG, and their shapes."""
        if not self._metadata.get("jpeg_encoding", True):
            return {}
        space = self._metadata.get("observation_space")
        if space is None:
            return {}
        found = {}
        for name, box in _boxes(json.loads(space), _OBSERVATIONS):
            shape = tuple(box["shape"])
            stored = self._layout.get(name)
            picture = len(shape) == 3 and box["dtype"] == "uint8"
            if picture and stored is not None and stored[1][1:] != shape:
                found[name] = shape
        return found

    def _assign(self, options: MinariFormat) -> Roles:
        columns, images = [], []
        self._one_more: set[str] = set()
        steps = self.lengths[0]
        layout = dict(self._layout)
        for name, shape in self._pictures.items():
            layout[name] = (np.dtype(np.uint8), (layout[name][1][0], *shape))
        self._texts = text_columns(layout, str(self.path))
        for name, (dtype, shape) in layout.items():
            if name in self._texts:
                continue
            if len(shape) < 1:
                continue
            if shape[0] == steps + 1:
                self._one_more.add(name)
            columns.append(Column(name, np.dtype(dtype), tuple(shape[1:])))
            if len(shape) == 4 and shape[3] == 3 and dtype == np.uint8:
                images.append(name)
        available = camera_names(images, prefix=f"{_OBSERVATIONS}/")
        cameras, left_out = choose_cameras(available, options.cameras, str(self.path))
        state, world = options.proprioception, options.privileged
        vectors = [column.name for column in columns if len(column.row_shape) == 1]
        if state is None:
            usual = (_OBSERVATIONS, f"{_OBSERVATIONS}/observation", _NAMES["proprioception"])
            state = [name for name in usual if name in vectors][:1]
        if world is None:
            world = [name for name in (_NAMES["privileged"],) if name in vectors]
        return assign_roles(
            columns,
            data_set=str(self.path),
            actions=[options.actions],
            proprioception=state,
            privileged=world,
            cameras=cameras,
            left_out=left_out,
        )


def _decoded(cells: Any, what: str) -> np.ndarray:
    try:
        return np.stack(
            [np.asarray(Image.open(io.BytesIO(bytes(bytearray(cell))))) for cell in cells]
        )
    except (OSError, ValueError) as error:
        raise ConversionError(
            f"Expected JPEG images in {what}, got one that does not decode ({error})."
        ) from error


def _boxes(space: Mapping[str, Any], below: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The boxes of a space with their paths in the file."""
    parts = space.get("subspaces")
    if isinstance(parts, dict):
        return [box for name, part in parts.items() for box in _boxes(part, f"{below}/{name}")]
    if isinstance(parts, list):
        named = [(f"{below}/_index_{number}", part) for number, part in enumerate(parts)]
        return [box for name, part in named for box in _boxes(part, name)]
    return [(below, space)] if space.get("type") == "Box" else []


def _with_short_bounds(space: Any) -> Any:
    """A space whose bounds are one number where all are equal: those of images are megabytes."""
    return _each_box(space, lambda bound, shape: _shortened(bound))


def _with_whole_bounds(space: Any) -> Any:
    """The space that :func:`_with_short_bounds` was given."""
    return _each_box(
        space,
        lambda bound, shape: bound if isinstance(bound, list) else np.full(shape, bound).tolist(),
    )


def _each_box(space: Any, change: Callable[[Any, Sequence[int]], Any]) -> Any:
    if isinstance(space, list):
        return [_each_box(part, change) for part in space]
    if not isinstance(space, dict):
        return space
    if space.get("type") == "Box":
        ends = {end: change(space[end], space["shape"]) for end in ("low", "high")}
        return {**space, **ends}
    return {name: _each_box(part, change) for name, part in space.items()}


def _shortened(bound: Any) -> Any:
    values = np.asarray(bound)
    if values.size and (values == values.flat[0]).all():
        return values.flat[0].item()
    return bound


def _box(shape: Sequence[int], dtype: np.dtype, bound: float = np.inf) -> dict[str, Any]:
    low, high = -bound, bound
    if dtype.kind in "iu":
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    elif dtype.kind == "b":
        low, high = 0, 1
    return {
        "type": "Box",
        "dtype": dtype.name,
        "shape": list(shape),
        "low": np.full(shape, low).tolist(),
        "high": np.full(shape, high).tolist(),
    }
