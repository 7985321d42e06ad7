"""diffusion_policy's replay buffers: Zarr v2, all episodes one after another.

The layout is that of diffusion_policy (``diffusion_policy/common/replay_buffer.py``,
https://github.com/real-stanford/diffusion_policy)::

    data/<name> (N, ...)        a row for every step
    meta/episode_ends (E,)      the step behind each episode's last one
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numcodecs import Blosc  # type: ignore[import-untyped]

from egodtm_robot.demos.attributes import DemonstrationAttributes, foreign_attributes
from egodtm_robot.demos.convert.columnar import ColumnarFormat, ColumnarSource
from egodtm_robot.demos.convert.contract import ConversionError, Part
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

_NAMES = {"actions": "action", "proprioception": "state", "privileged": "env_state"}
_STATES = ("state", "agent_pos", "robot_eef_pose")
_CHUNK_BYTES = 2e6
"""Size that the buffer's own code makes chunks for."""


@dataclass
class ReplayBufferFormat(ColumnarFormat):
    """diffusion_policy's replay buffers."""

    kind = "diffusion_policy"

    actions: str = "action"
    """Read: the array of actions."""

    proprioception: list[str] | None = None
    """Read: arrays that make the robot's state, in this order; null takes the first that is there
    of ``state``, ``agent_pos`` and ``robot_eef_pose``."""

    privileged: list[str] | None = None
    """Read: arrays that make the world's state; null takes ``env_state`` if it is there."""

    cameras: list[str] | None = None
    """Cameras to convert; null takes all arrays of images."""

    compressor: Literal["lz4", "zstd"] = "lz4"
    """Write: ``lz4`` as the buffer's own code does it by default, or ``zstd``, its smaller kind."""

    def open(self, path: Path) -> "ReplayBufferSource":
        """A buffer, in a folder or a ZIP file; see :meth:`DemonstrationFormat.open`."""
        return ReplayBufferSource(path, self)

    @staticmethod
    def default_column(name: str) -> str:
        """See :class:`ColumnarFormat`."""
        # The buffer's own code takes everything below data for an array: no slash makes a group.
        short = name.removeprefix("rgb/").removeprefix("extra/")
        return _NAMES.get(name, short.replace("/", "."))

    def write_part(self, store: DemonstrationStore, index: int, folder: Path) -> dict[str, Any]:
        """Write the arrays of one episode, each into a file of its own."""
        columns = self.columns(store)
        types = self.metadata(store).get("image_types", {})
        arrays = store.episode(index, list(columns))
        for number, (name, column) in enumerate(columns.items()):
            values = arrays[name].astype(types.get(column, arrays[name].dtype))
            np.save(folder / f"{number}.npy", values, allow_pickle=False)
        return {"steps": int(np.diff(store.episode_offsets)[index])}

    def merge(self, store: DemonstrationStore, parts: Sequence[Part], out: Path) -> None:
        """Write the arrays chunk by chunk."""
        group = zarr.open_group(out, mode="w", zarr_format=2)
        data, meta = group.create_group("data"), group.create_group("meta")
        ends = np.cumsum([part.facts["steps"] for part in parts])
        columns = self.columns(store)
        for number, column in enumerate(columns.values()):
            files = [
                np.load(part.folder / f"{number}.npy", mmap_mode="r", allow_pickle=False)
                for part in parts
            ]
            self._write_array(data, column, files)
        array = meta.create_array(
            "episode_ends", shape=ends.shape, chunks=ends.shape, dtype="int64", compressors=None
        )
        array[:] = ends
        record = record_of(store, columns)
        record["episodes"] = [episode_record(store, part.index) for part in parts]
        group.attrs.update(self.metadata(store).get("attributes", {}))
        group.attrs[RECORD_NAME] = record

    def _write_array(self, data: Any, column: str, files: Sequence[np.ndarray]) -> None:
        steps = sum(map(len, files))
        row_shape, dtype = files[0].shape[1:], files[0].dtype
        row_bytes = max(1, math.prod(row_shape) * dtype.itemsize)
        rows = max(1, min(steps, math.ceil(_CHUNK_BYTES / row_bytes)))
        codec = {
            "lz4": Blosc(cname="lz4", clevel=5, shuffle=Blosc.NOSHUFFLE),
            "zstd": Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE),
        }[self.compressor]
        array = data.create_array(
            column,
            shape=(steps, *row_shape),
            chunks=(rows, *(max(1, size) for size in row_shape)),
            dtype=dtype,
            compressors=codec,
        )
        # One chunk at a time, however episodes lie in them.
        done, held = 0, files[0][:0]
        for values in files:
            held = np.concatenate([held, values])
            whole = len(held) - len(held) % rows
            array[done : done + whole] = held[:whole]
            done, held = done + whole, held[whole:]
        if len(held):
            array[done:] = held


class ReplayBufferSource(ColumnarSource):
    """A replay buffer, open for reading.

    Args:
        path: folder, or ZIP file of one.
        options: which arrays and cameras to take.
    """

    def __init__(self, path: Path, options: ReplayBufferFormat) -> None:
        self.path = Path(path)
        self._group = self._open()
        self._data: dict[str, Any] = dict(self._group["data"].arrays())
        found = np.asarray(self._group["meta/episode_ends"])
        if found.ndim != 1 or not np.array_equal(found, found.astype(np.int64)):
            raise ConversionError(
                f"Expected a list of whole numbers in meta/episode_ends of {self.path}, got "
                f"{found.dtype} {found.shape}. Repair the buffer."
            )
        ends = found.astype(np.int64)
        self._offsets = np.concatenate([[0], ends])
        if len(ends) == 0 or (np.diff(self._offsets) < 1).any():
            raise ConversionError(
                f"Expected ends of episodes that increase in meta/episode_ends of {self.path}, got "
                f"{ends[:5].tolist()}..."
            )
        for name, array in self._data.items():
            if array.shape[0] < ends[-1]:
                raise ConversionError(
                    f"Expected {ends[-1]} rows in data/{name} of {self.path}, as episode_ends "
                    f"says, got {array.shape[0]}. The episodes are ragged: repair the buffer."
                )
        values = self._group.attrs.asdict().get(RECORD_NAME)
        self._record = Record.find(values, self.lengths)
        self._record_episodes = values["episodes"] if self._record else []
        self._roles = self._assign(options)

    def own_attributes(self) -> DemonstrationAttributes:
        """See :class:`ColumnarSource`."""
        further = {k: v for k, v in self._group.attrs.asdict().items() if k != RECORD_NAME}
        cameras = self._roles.cameras
        origin = Origin(
            format=ReplayBufferFormat.kind,
            version=f"zarr {self._group.metadata.zarr_format}",
            name=self.path.name.removesuffix(".zip").removesuffix(".zarr"),
            resolutions={
                name: (column.row_shape[0], column.row_shape[1]) for name, column in cameras.items()
            },
            columns=self._roles.columns,
            metadata={
                "attributes": further,
                "image_types": {
                    column.name: self._data[column.name].dtype.name for column in cameras.values()
                },
            },
        )
        return foreign_attributes(origin)

    @property
    def lengths(self) -> list[int]:
        """See :class:`DemonstrationSource`."""
        found: list[int] = np.diff(self._offsets).tolist()
        return found

    def read(self, index: int) -> Episode:
        """See :class:`DemonstrationSource`."""
        start, stop = self._offsets[index : index + 2].tolist()

        def column(name: str) -> np.ndarray:
            if name not in self._data:
                raise ConversionError(f"Expected data/{name} in {self.path}, found none.")
            try:
                return np.asarray(self._data[name][start:stop])
            except (RuntimeError, ValueError, OSError) as error:
                raise ConversionError(
                    f"Expected data/{name} of {self.path} to be readable in episode {index}, got "
                    f"{error}. A chunk is damaged: copy the buffer again."
                ) from error

        if self._record is not None:
            return self._record.episode(self._record_episodes[index], stop - start, column)
        images = {column.name for column in self._roles.cameras.values()}

        def rows(found: Column) -> np.ndarray:
            values = column(found.name)
            return _bytes_of(values, found.name, index) if found.name in images else values

        return self._roles.episode(rows, steps=stop - start, number=index, success=None)

    def _open(self) -> Any:
        if not self.path.exists():
            raise ConversionError(f"Expected a replay buffer at {self.path}, found nothing.")
        try:
            store: Any = self.path
            if self.path.is_file():
                store = zarr.storage.ZipStore(self.path, mode="r")
            group = zarr.open_group(store, mode="r")
        except Exception as error:  # zarr and zipfile have no common base
            raise ConversionError(
                f"Expected a Zarr group at {self.path}, got {error or type(error).__name__}."
            ) from error
        for name in ("data", "meta/episode_ends"):
            if name not in group:
                raise ConversionError(
                    f"Expected a replay buffer at {self.path}, but it has no {name!r}. Name the "
                    "folder that ends in .zarr."
                )
        return group

    def _assign(self, options: ReplayBufferFormat) -> Roles:
        columns, images = [], []
        for name, array in self._data.items():
            shape = tuple(array.shape[1:])
            dtype = np.dtype(array.dtype)
            if len(shape) == 3 and shape[2] == 3:
                images.append(name)
                dtype = np.dtype(np.uint8)
            columns.append(Column(name, dtype, shape))
        cameras, left_out = choose_cameras(camera_names(images), options.cameras, str(self.path))
        state, world = options.proprioception, options.privileged
        if state is None:
            state = [name for name in _STATES if name in self._data][:1]
        if world is None:
            world = [name for name in (_NAMES["privileged"],) if name in self._data]
        return assign_roles(
            columns,
            data_set=str(self.path),
            actions=[options.actions],
            proprioception=state,
            privileged=world,
            cameras=cameras,
            left_out=left_out,
        )


def _bytes_of(values: np.ndarray, name: str, index: int) -> np.ndarray:
    """Images that are stored as floats of whole numbers, as PushT's are."""
    if values.dtype == np.uint8:
        return values
    found = values.clip(0, 255).astype(np.uint8)
    if not np.array_equal(found, values):
        raise ConversionError(
            f"Expected images of whole numbers from 0 to 255 in data/{name}, got "
            f"{values.min()} to {values.max()} as {values.dtype} in episode {index}. Multiply and "
            "round them first, or leave the camera out with format.cameras."
        )
    return found
