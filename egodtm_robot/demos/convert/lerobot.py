"""LeRobot's data sets, version 3: Parquet for numbers, MP4 or PNG for images.

The layout is that of lerobot 0.6 (``lerobot/datasets``, https://github.com/huggingface/lerobot)::

    meta/info.json        version, frames a second, robot, and a ``features`` entry a column
    meta/stats.json       statistics of every column
    meta/tasks.parquet    text and number of each task
    meta/episodes/chunk-000/file-000.parquet    where each episode lies in the files below
    data/chunk-000/file-000.parquet             a row for every step, episodes one after another
    videos/<column>/chunk-000/file-000.mp4      a frame for every step, likewise

``meta/egodtm_robot.json`` is our own: see :mod:`.record`.
"""

import base64
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from PIL import Image

from egodtm_robot.core.configuration import Bounds, PositiveInt
from egodtm_robot.core.storage.atomic_files import write_atomically
from egodtm_robot.demos.attributes import DemonstrationAttributes, foreign_attributes
from egodtm_robot.demos.convert import lerobot_statistics as statistics
from egodtm_robot.demos.convert.columnar import ColumnarFormat, ColumnarSource
from egodtm_robot.demos.convert.contract import ConversionError, Part
from egodtm_robot.demos.convert.mp4 import (
    Codec,
    join_videos,
    psnr,
    read_frames,
    square_error,
    write_video,
)
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

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = "v3.0"
"""Version of the layout that is read and written."""

_INFO = "meta/info.json"
_STATS = "meta/stats.json"
_TASKS = "meta/tasks.parquet"
_EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_RECORD = f"meta/{RECORD_NAME}.json"

_FILES_A_CHUNK = 1000
_DATA_FILE_MB = 100
_VIDEO_FILE_MB = 200

# Columns that follow from where a row lies.
_PLACES = ("frame_index", "episode_index", "index")
_BOOKKEEPING = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    **{name: {"dtype": "int64", "shape": [1], "names": None} for name in (*_PLACES, "task_index")},
}
_NAMES = {
    "actions": "action",
    "proprioception": "observation.state",
    "privileged": "observation.environment_state",
}
_IMAGES = "observation.images."
_SUCCESS = "next.success"
_TEXT_TYPES = ("string", "language")
_TIME_TOLERANCE = 0.1
"""How far the time between two steps may be from what the frame rate says, as a share of it."""
_VIDEO_BYTES_A_PIXEL = 0.375
"""For the estimate of disk; more than ``crf=10`` takes of real pictures."""


@dataclass
class LeRobotFormat(ColumnarFormat):
    """LeRobot's data sets of version 3."""

    packages = ("pyarrow.parquet", "av")
    kind = "lerobot"

    actions: str = "action"
    """Read: the column of actions."""

    proprioception: list[str] | None = None
    """Read: columns that make the robot's state, in this order; null takes ``observation.state`` if
    it is there."""

    privileged: list[str] | None = None
    """Read: columns that make the world's state; null takes ``observation.environment_state`` if it
    is there."""

    cameras: list[str] | None = None
    """Cameras to convert; null takes all."""

    images: Literal["video", "image"] = "video"
    """Write: ``video`` for MP4, which loses a little (the summary says how much), or ``image`` for
    PNG within Parquet, which is exact and larger."""

    codec: Codec = "h264"
    """Write: codec of the MP4 files."""

    crf: Annotated[int, Bounds(0, 63)] = 18
    """Write: constant rate factor of the encoder; smaller is better and larger."""

    keyframe_interval: PositiveInt = 2
    """Write: frames from one key frame to the next; few make random access fast."""

    fps: float | None = None
    """Write: frames a second; null takes the store's."""

    task: str | None = None
    """Write: text of the task, for stores that have no texts; null takes the task's name."""

    def open(self, path: Path) -> "LeRobotSource":
        """A data set; see :meth:`DemonstrationFormat.open`."""
        self.check_packages()
        return LeRobotSource(path, self)

    def check_store(self, store: DemonstrationStore) -> None:
        """Refuse a store without frame rate, or whose images no codec takes."""
        super().check_store(store)
        self._fps(store)
        for camera in self._cameras(store):
            height, width = store.array(f"rgb/{camera}").spec.row_shape[:2]
            if self.images == "video" and (height % 2 or width % 2):
                raise ConversionError(
                    f"Expected images of even height and width for a video, got {height} x {width} "
                    f"of camera {camera!r}. Write them as pictures: format.images=image."
                )

    @staticmethod
    def default_column(name: str) -> str:
        """See :class:`ColumnarFormat`."""
        if name.startswith("rgb/"):
            return _IMAGES + name.removeprefix("rgb/")
        # LeRobot allows no slash in a name.
        return _NAMES.get(name, name.replace("/", "."))

    def write_part(self, store: DemonstrationStore, index: int, folder: Path) -> dict[str, Any]:
        """Write the rows and videos of one episode."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        features = self._features(store)
        arrays = store.episode(index, list(self.columns(store)))
        fps = self._fps(store)
        notes = store.notes(index).get("text_columns", {})
        rows: dict[str, pa.Array] = {}
        stats: dict[str, statistics.Statistics] = {}
        squares: dict[str, float] = {}
        steps = int(np.diff(store.episode_offsets[index : index + 2])[0])
        for name, column in self.columns(store).items():
            values = arrays[name]
            kind = features[column]["dtype"]
            if kind == "video":
                file = folder / f"{column}.mp4"
                write_video(values, file, fps, self.codec, self.crf, self.keyframe_interval)
                squares[column] = square_error(values, file, fps)
                stats[column] = statistics.of_images(values)
            elif kind == "image":
                rows[column] = _pictures(values)
                stats[column] = statistics.of_images(values)
            else:
                rows[column] = _arrow(values)
                stats[column] = statistics.of_numbers(values)
        for column in features:
            if features[column]["dtype"] in _TEXT_TYPES:
                schema = _text_schema(store.attributes.origin)
                rows[column] = pa.array(notes[column], schema.field(column).type)
        rows |= self._bookkeeping(store, index, steps, rows)
        for column in _BOOKKEEPING:
            if column in rows and column not in stats:
                stats[column] = statistics.of_numbers(rows[column].to_numpy(zero_copy_only=False))
        pq.write_table(pa.table(rows), folder / "data.parquet")
        tasks = self._tasks(store)
        present = np.unique(rows["task_index"].to_numpy(zero_copy_only=False)).tolist()
        return {
            "steps": steps,
            "stats": stats,
            "tasks": [tasks[number] for number in present],
            "squares": squares,
            "values": {
                column: steps * int(np.prod(features[column]["shape"])) for column in squares
            },
        }

    def merge(self, store: DemonstrationStore, parts: Sequence[Part], out: Path) -> None:
        """Join rows and videos, and write the tables of episodes, tasks and statistics."""
        features = self._features(store)
        places: list[dict[str, Any]] = [{} for _ in parts]
        _join_rows(parts, features, out, places)
        fps = self._fps(store)
        for column, feature in features.items():
            if feature["dtype"] == "video":
                _join_videos(parts, column, fps, out, places)
        stats = [part.facts["stats"] for part in parts]
        _write_episodes(parts, places, stats, out)
        total = {name: statistics.together([s[name] for s in stats]) for name in stats[0]}
        _write_json(out / _STATS, total)
        _write_tasks(self._tasks(store), out)
        record = record_of(store, self.columns(store))
        record["images"] = self._losses(parts)
        record["episodes"] = [episode_record(store, part.index) for part in parts]
        _write_json(out / _RECORD, record)
        _write_json(out / _INFO, self._info(store, parts, features))

    def summary(self, parts: Sequence[Part]) -> str:
        """How far the videos' images are from the store's."""
        losses = self._losses(parts)
        if not losses:
            return "images exact"
        return "; ".join(
            f"{column.removeprefix(_IMAGES)}: PSNR {loss['psnr_db']:.1f} dB, worst episode "
            f"{loss['worst_psnr_db']:.1f} dB ({self.codec}, crf {self.crf})"
            for column, loss in losses.items()
        )

    def estimate_bytes(self, store: DemonstrationStore) -> int:
        """Parts and data set; videos by more than they mostly take."""
        total = 0.0
        for name in self.columns(store):
            spec = store.array(name).spec
            share = 1.0
            if name.startswith("rgb/") and self.images == "video":
                share = _VIDEO_BYTES_A_PIXEL / 3
            total += 2 * share * spec.row_bytes * store.num_steps
        return int(total)

    # -- what is written -----------------------------------------------------------------------

    def _cameras(self, store: DemonstrationStore) -> list[str]:
        return [name.removeprefix("rgb/") for name in self.columns(store) if name[:4] == "rgb/"]

    def _features(self, store: DemonstrationStore) -> dict[str, dict[str, Any]]:
        """The ``features`` of info.json."""
        known = self.metadata(store).get("info", {}).get("features", {})
        features: dict[str, dict[str, Any]] = {}
        for name, column in self.columns(store).items():
            spec = store.array(name).spec
            if name.startswith("rgb/"):
                names = ["height", "width", "channels"]
                shape = list(spec.row_shape)
                feature: dict[str, Any] = {"dtype": self.images, "shape": shape, "names": names}
                if self.images == "video":
                    feature["info"] = self._video_info(store, spec.row_shape)
                features[column] = feature
            elif column in known:
                features[column] = dict(known[column])
            else:
                shape = list(spec.row_shape) or [1]
                features[column] = {"dtype": spec.dtype, "shape": shape, "names": None}
        texts = {c: f for c, f in known.items() if f["dtype"] in _TEXT_TYPES}
        # In the order that the data set had, if it had one.
        order = {column: place for place, column in enumerate(known)}
        together = features | texts | {c: f for c, f in _BOOKKEEPING.items() if c not in features}
        return dict(sorted(together.items(), key=lambda item: order.get(item[0], len(order))))

    def _video_info(self, store: DemonstrationStore, shape: tuple[int, ...]) -> dict[str, Any]:
        return {
            "video.height": shape[0],
            "video.width": shape[1],
            "video.codec": self.codec,
            "video.pix_fmt": "yuv420p",
            "video.fps": int(self._fps(store)),
            "video.channels": 3,
            "video.g": self.keyframe_interval,
            "video.crf": self.crf,
            "has_audio": False,
            "is_depth_map": False,
        }

    def _bookkeeping(
        self, store: DemonstrationStore, index: int, steps: int, given: Mapping[str, Any]
    ) -> "dict[str, pa.Array]":
        import pyarrow as pa

        numbers = np.arange(steps, dtype=np.int64)
        columns = {"frame_index": numbers, "episode_index": np.full(steps, index, np.int64)}
        columns["index"] = numbers + int(store.episode_offsets[index])
        if "timestamp" not in given:
            columns["timestamp"] = (numbers / self._fps(store)).astype(np.float32)
        if "task_index" not in given:
            columns["task_index"] = np.zeros(steps, np.int64)
        return {name: pa.array(values) for name, values in columns.items()}

    def _tasks(self, store: DemonstrationStore) -> list[str]:
        origin = store.attributes.origin
        if origin is not None and origin.tasks:
            return list(origin.tasks)
        return [self.task or store.attributes.task]

    def _fps(self, store: DemonstrationStore) -> float:
        fps = self.fps
        if fps is None and store.attributes.origin is not None:
            fps = store.attributes.origin.fps
        if fps is None and store.attributes.control_dt:
            fps = round(1.0 / store.attributes.control_dt, 6)
        if fps is None or fps <= 0:
            raise ConversionError(
                f"Expected frames a second of {store.path}, which does not say how long its steps "
                f"last; got {fps}. Give format.fps=30 or what it was."
            )
        return int(fps) if float(fps).is_integer() else float(fps)

    def _info(
        self, store: DemonstrationStore, parts: Sequence[Part], features: Mapping[str, Any]
    ) -> dict[str, Any]:
        attributes = store.attributes
        origin = attributes.origin
        frames = sum(part.facts["steps"] for part in parts)
        info = self.metadata(store).get("info", {}) | {
            "codebase_version": VERSION,
            "robot_type": attributes.environment_kind if origin is None else origin.robot_type,
            "fps": self._fps(store),
            "total_episodes": len(parts),
            "total_frames": frames,
            "total_tasks": len(self._tasks(store)),
            "chunks_size": _FILES_A_CHUNK,
            "data_files_size_in_mb": _DATA_FILE_MB,
            "video_files_size_in_mb": _VIDEO_FILE_MB,
            "data_path": _DATA,
            "video_path": _VIDEO if any(f["dtype"] == "video" for f in features.values()) else None,
            "features": dict(features),
        }
        info.setdefault("splits", {"train": f"0:{len(parts)}"})
        return info

    def _losses(self, parts: Sequence[Part]) -> dict[str, dict[str, Any]]:
        found = {}
        for column in parts[0].facts["squares"]:
            squares = [part.facts["squares"][column] for part in parts]
            values = [part.facts["values"][column] for part in parts]
            each = [psnr(s, v) for s, v in zip(squares, values, strict=True)]
            found[column] = {
                "codec": self.codec,
                "crf": self.crf,
                "psnr_db": round(psnr(sum(squares), sum(values)), 2),
                "worst_psnr_db": round(min(each), 2),
            }
        return found


class LeRobotSource(ColumnarSource):
    """A data set of LeRobot, open for reading.

    Args:
        path: folder of the data set.
        options: which columns and cameras to take.
    """

    def __init__(self, path: Path, options: LeRobotFormat) -> None:
        self.path = Path(path)
        self._info = self._read_info()
        self._features: dict[str, dict[str, Any]] = self._info["features"]
        self._episodes = self._read_episodes()
        self._tasks = self._read_tasks()
        values = _read_json(self.path / _RECORD) if (self.path / _RECORD).is_file() else None
        self._record = Record.find(values, self.lengths)
        self._record_episodes = values["episodes"] if self._record and values else []
        self._roles = self._assign(options)

    def own_attributes(self) -> DemonstrationAttributes:
        """See :class:`ColumnarSource`."""
        info = {k: v for k, v in self._info.items() if not k.startswith("total_")}
        columns = self._roles.columns | {"task_index": "task_index"}
        metadata: dict[str, Any] = {"info": info}
        texts = self._text_columns()
        if texts:
            schema = self._table(0, texts).schema.remove_metadata()
            metadata["text_schema"] = base64.b64encode(schema.serialize().to_pybytes()).decode()
        origin = Origin(
            format=LeRobotFormat.kind,
            version=self._info["codebase_version"],
            name=self.path.resolve().name,
            fps=float(self._info["fps"]),
            robot_type=self._info.get("robot_type"),
            resolutions={
                name: (column.row_shape[0], column.row_shape[1])
                for name, column in self._roles.cameras.items()
            },
            tasks=tuple(self._tasks),
            columns=columns,
            metadata=metadata,
        )
        return foreign_attributes(origin, self._info.get("license"))

    @cached_property
    def lengths(self) -> list[int]:
        """See :class:`DemonstrationSource`."""
        return [int(episode["length"]) for episode in self._episodes]

    def read(self, index: int) -> Episode:
        """See :class:`DemonstrationSource`."""
        steps = self.lengths[index]
        names = [
            name
            for name, feature in self._features.items()
            if feature["dtype"] != "video" and name not in self._left_out
        ]
        table = self._table(index, names)
        self._check_places(table, index, steps)
        cache: dict[str, np.ndarray] = {}

        def column(name: str) -> np.ndarray:
            if name not in cache:
                cache[name] = self._column(table, name, index, steps)
            return cache[name]

        if self._record is not None:
            return self._record.episode(self._record_episodes[index], steps, column)
        success = None
        if self._features.get(_SUCCESS, {}).get("dtype") == "bool":
            success = bool(column(_SUCCESS).any())
        notes: dict[str, Any] = {}
        texts = {name: table.column(name).to_pylist() for name in self._text_columns()}
        if texts:
            notes["text_columns"] = texts
        further = {k: v for k, v in self._episodes[index].items() if _is_further(k)}
        if further:
            notes["episode_columns"] = further
        return self._roles.episode(
            lambda found: column(found.name),
            steps=steps,
            number=index,
            success=success,
            task_index=column("task_index"),
            notes=notes,
        )

    # -- what lies there -----------------------------------------------------------------------

    def _read_info(self) -> dict[str, Any]:
        if not (self.path / _INFO).is_file():
            raise ConversionError(
                f"Expected a LeRobot data set at {self.path}, but there is no {_INFO}. Name the "
                "folder that holds meta, data and videos."
            )
        info = _read_json(self.path / _INFO)
        version = str(info.get("codebase_version", "none"))
        if not version.startswith("v3."):
            raise ConversionError(
                f"Expected codebase_version {VERSION} in {self.path / _INFO}, got {version}. "
                "Convert the data set with the tools of lerobot first, of v2.1 with: "
                "python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=..."
            )
        for key, kind in (("fps", int | float), ("features", dict)):
            if not isinstance(info.get(key), kind) or not info[key]:
                raise ConversionError(
                    f"Expected {key!r} in {self.path / _INFO}, got {info.get(key, 'none')!r}. "
                    "Copy the file again, or repair it."
                )
        if info["fps"] <= 0:
            raise ConversionError(
                f"Expected 'fps' above 0 in {self.path / _INFO}, got {info['fps']}."
            )
        return info

    def _read_episodes(self) -> list[dict[str, Any]]:
        files = sorted(self.path.glob("meta/episodes/*/*.parquet"))
        if not files:
            raise ConversionError(
                f"Expected tables of episodes in {self.path}/meta/episodes, found none. The data "
                "set is incomplete: copy it again."
            )
        rows: list[dict[str, Any]] = []
        for file in files:
            table = _read_table(file)
            names = [name for name in table.column_names if not name.startswith("stats/")]
            rows += table.select(names).to_pylist()
        rows.sort(key=lambda row: row["episode_index"])
        numbers = [row["episode_index"] for row in rows]
        if numbers != list(range(len(rows))):
            raise ConversionError(
                f"Expected episodes 0 to {len(rows) - 1} in {self.path}/meta/episodes, got "
                f"{numbers[:5]}... Repair the data set with the tools of lerobot."
            )
        for row in rows:
            if row["dataset_to_index"] - row["dataset_from_index"] != row["length"]:
                raise ConversionError(
                    f"Expected episode {row['episode_index']} of {self.path} to have its length "
                    f"{row['length']}, got rows {row['dataset_from_index']} to "
                    f"{row['dataset_to_index']}. Repair the data set with the tools of lerobot."
                )
        return rows

    def _read_tasks(self) -> list[str]:
        table = _read_table(self.path / _TASKS)
        texts = next(
            (n for n in ("task", "__index_level_0__") if n in table.column_names),
            next(n for n in table.column_names if n != "task_index"),
        )
        found = sorted(zip(table["task_index"].to_pylist(), table[texts].to_pylist(), strict=True))
        if [number for number, _ in found] != list(range(len(found))):
            raise ConversionError(
                f"Expected tasks 0 to {len(found) - 1} in {self.path / _TASKS}, got "
                f"{[number for number, _ in found][:5]}."
            )
        return [str(text) for _, text in found]

    def _assign(self, options: LeRobotFormat) -> Roles:
        columns, pictures = [], []
        for name, feature in self._features.items():
            if name in (*_PLACES, "task_index") or feature["dtype"] in _TEXT_TYPES:
                continue
            if feature["dtype"] in ("video", "image"):
                pictures.append(name)
                columns.append(Column(name, np.dtype(np.uint8), self._image_shape(name)))
            else:
                shape = tuple(int(size) for size in feature["shape"])
                columns.append(
                    Column(name, np.dtype(feature["dtype"]), () if shape == (1,) else shape)
                )
        cameras, self._left_out = choose_cameras(
            camera_names(pictures, prefix=_IMAGES), options.cameras, str(self.path)
        )
        for camera, name in cameras.items():
            if self._image_shape(name)[2] != 3:
                raise ConversionError(
                    f"Expected images of three colors of camera {camera!r} in {self.path}, got a "
                    f"{self._features[name]['shape']} feature. Depth is not converted: name the "
                    "cameras that are in format.cameras."
                )
        names = self._features
        state, world = _NAMES["proprioception"], _NAMES["privileged"]
        return assign_roles(
            columns,
            data_set=str(self.path),
            actions=[options.actions],
            proprioception=_named(options.proprioception, state, names),
            privileged=_named(options.privileged, world, names),
            cameras=cameras,
            left_out=self._left_out,
        )

    def _image_shape(self, name: str) -> tuple[int, ...]:
        """(H, W, C), whatever the order that the feature has."""
        feature = self._features[name]
        shape = [int(size) for size in feature["shape"]]
        first = feature.get("names") or []
        if len(shape) == 3 and (
            (first and str(first[0]).startswith("channel")) or (not first and shape[0] in (1, 3))
        ):
            return shape[1], shape[2], shape[0]
        return tuple(shape) if len(shape) == 3 else (*shape[:2], 1)

    def _text_columns(self) -> list[str]:
        return [name for name, f in self._features.items() if f["dtype"] in _TEXT_TYPES]

    def _table(self, index: int, names: Sequence[str]) -> "pa.Table":
        """Rows of one episode."""
        import pyarrow as pa

        episode = self._episodes[index]
        place = (episode["data/chunk_index"], episode["data/file_index"])
        file = self.path / str(self._info.get("data_path", _DATA)).format(
            chunk_index=place[0],
            file_index=place[1],
        )
        first = min(
            other["dataset_from_index"]
            for other in self._episodes
            if (other["data/chunk_index"], other["data/file_index"]) == place
        )
        start = episode["dataset_from_index"] - first
        stop = start + episode["length"]
        opened = _open_parquet(file)
        missing = set(names) - set(opened.schema_arrow.names)
        if missing:
            raise ConversionError(
                f"Expected columns {sorted(missing)} in {file}, as info.json says, found "
                f"{opened.schema_arrow.names}. The data set is incomplete: copy it again."
            )
        wanted, before = [], 0
        offset = None
        for group in range(opened.metadata.num_row_groups):
            rows = opened.metadata.row_group(group).num_rows
            if before < stop and before + rows > start:
                offset = before if offset is None else offset
                wanted.append(group)
            before += rows
        if before < stop:
            raise ConversionError(
                f"Expected {episode['length']} rows of episode {index} in {file}, whose "
                f"{before} rows end before row {stop}. The episode is ragged or the file was cut "
                "short: copy it again."
            )
        try:
            table = opened.read_row_groups(wanted, columns=list(names))
        except (pa.ArrowException, OSError) as error:
            raise ConversionError(
                f"Expected whole Parquet in {file}, got {error}. Copy it again."
            ) from error
        return table.slice(start - (offset or 0), stop - start)

    def _check_places(self, table: "pa.Table", index: int, steps: int) -> None:
        found = np.unique(table.column("episode_index").to_numpy())
        if found.tolist() != [index]:
            raise ConversionError(
                f"Expected {steps} rows of episode {index} where {self.path}/meta/episodes has "
                f"them, got rows of the episodes {found.tolist()}. The episode is ragged: repair "
                "the data set with the tools of lerobot."
            )

    def _column(self, table: "pa.Table", name: str, index: int, steps: int) -> np.ndarray:
        feature: Mapping[str, Any] = self._features.get(name) or _BOOKKEEPING[name]
        if feature["dtype"] == "video":
            return self._video(name, index, table)
        what = f"{name!r} of episode {index} in {self.path}"
        if feature["dtype"] == "image":
            frames = [_picture(cell, self.path, what) for cell in table.column(name).to_pylist()]
            return _checked_images(frames, self._image_shape(name), what)
        shape = tuple(int(size) for size in feature["shape"])
        return _numpy(table.column(name), (steps, *(() if shape == (1,) else shape)), what)

    def _video(self, name: str, index: int, table: "pa.Table") -> np.ndarray:
        episode = self._episodes[index]
        fps = float(self._info["fps"])
        file = self.path / str(self._info.get("video_path", _VIDEO)).format(
            video_key=name,
            chunk_index=episode[f"videos/{name}/chunk_index"],
            file_index=episode[f"videos/{name}/file_index"],
        )
        times = episode[f"videos/{name}/from_timestamp"] + table.column("timestamp").to_numpy()
        what = f"images {name!r} of episode {index}"
        if len(times) > 1 and abs(float(np.median(np.diff(times))) * fps - 1) > _TIME_TOLERANCE:
            raise ConversionError(
                f"Expected the steps of episode {index} in {self.path} to be 1/{fps:g} s apart, as "
                f"info.json says, got timestamps {float(np.median(np.diff(times))):.4f} s apart. "
                "Repair 'fps' in info.json, or the timestamps."
            )
        return _checked_images(read_frames(file, times, fps, what), self._image_shape(name), what)


# -- Arrow and NumPy -----------------------------------------------------------------------------


def _arrow(values: np.ndarray) -> "pa.Array":
    """A column of numbers: lists of fixed length for vectors, nested lists for more axes."""
    import pyarrow as pa

    found = pa.array(np.ascontiguousarray(values).reshape(-1))
    for axis, size in enumerate(reversed(values.shape[1:])):
        if axis == 0 and values.ndim == 2:
            return pa.FixedSizeListArray.from_arrays(found, size)
        offsets = np.arange(0, len(found) + 1, size, dtype=np.int32)
        found = pa.ListArray.from_arrays(offsets, found)
    return found


def _numpy(column: "pa.ChunkedArray", shape: tuple[int, ...], what: str) -> np.ndarray:
    """The numbers of a column, however deep its lists are."""
    import pyarrow as pa

    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks)
    while pa.types.is_nested(values.type):
        values = values.flatten()
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if values.null_count or len(values) != np.prod(shape):
        raise ConversionError(
            f"Expected {what} with {shape} numbers, as info.json says, got {len(values)} and "
            f"{values.null_count} empty ones. The episode is ragged: repair or remove it."
        )
    return np.array(values.to_numpy(zero_copy_only=False)).reshape(shape)


def _pictures(frames: np.ndarray) -> "pa.Array":
    import pyarrow as pa

    cells = []
    for number, frame in enumerate(frames):
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, format="PNG", compress_level=1)
        cells.append({"bytes": buffer.getvalue(), "path": f"frame-{number:06d}.png"})
    return pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def _picture(cell: Any, folder: Path, what: str) -> np.ndarray:
    try:
        content = cell["bytes"]
        if content is None:
            content = (folder / cell["path"]).read_bytes()
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except (OSError, TypeError, KeyError, ValueError) as error:
        raise ConversionError(
            f"Expected a picture in {what}, got one that does not decode ({error})."
        ) from error


def _checked_images(
    frames: Sequence[np.ndarray] | np.ndarray, shape: tuple[int, ...], what: str
) -> np.ndarray:
    shapes = {frame.shape for frame in frames}
    if shapes != {shape}:
        raise ConversionError(
            f"Expected {what} with images of {shape}, as info.json says, got {sorted(shapes)}."
        )
    return np.stack(list(frames))


# -- Files ---------------------------------------------------------------------------------------


def _join_rows(
    parts: Sequence[Part],
    features: Mapping[str, Any],
    out: Path,
    places: Sequence[dict[str, Any]],
) -> None:
    """Write the rows of all episodes, one row group each."""
    import pyarrow.parquet as pq

    names = [name for name, feature in features.items() if feature["dtype"] != "video"]
    writer, size, number, first = None, 0, -1, 0
    for part, place in zip(parts, places, strict=True):
        table = _read_table(part.folder / "data.parquet").select(names)
        if writer is None or size + table.nbytes > _DATA_FILE_MB * 2**20:
            if writer is not None:
                writer.close()
            number, size = number + 1, 0
            file = out / _DATA.format(**_numbers(number))
            file.parent.mkdir(parents=True, exist_ok=True)
            writer = pq.ParquetWriter(file, table.schema, compression="snappy")
        writer.write_table(table, row_group_size=max(1, len(table)))
        size += table.nbytes
        chunk = _numbers(number)
        place |= {
            "data/chunk_index": chunk["chunk_index"],
            "data/file_index": chunk["file_index"],
            "dataset_from_index": first,
            "dataset_to_index": first + part.facts["steps"],
        }
        first += part.facts["steps"]
    assert writer is not None
    writer.close()


def _join_videos(
    parts: Sequence[Part], column: str, fps: float, out: Path, places: Sequence[dict[str, Any]]
) -> None:
    number, size, frames = 0, 0, 0
    group: list[tuple[Path, int]] = []

    def write() -> None:
        file = out / _VIDEO.format(video_key=column, **_numbers(number))
        file.parent.mkdir(parents=True, exist_ok=True)
        if len(group) == 1:
            shutil.copyfile(group[0][0], file)
        else:
            join_videos(group, file, fps)

    for part, place in zip(parts, places, strict=True):
        video = part.folder / f"{column}.mp4"
        if group and size + video.stat().st_size > _VIDEO_FILE_MB * 2**20:
            write()
            number, size, frames, group = number + 1, 0, 0, []
        group.append((video, part.facts["steps"]))
        chunk = _numbers(number)
        place |= {
            f"videos/{column}/chunk_index": chunk["chunk_index"],
            f"videos/{column}/file_index": chunk["file_index"],
            f"videos/{column}/from_timestamp": frames / fps,
            f"videos/{column}/to_timestamp": (frames + part.facts["steps"]) / fps,
        }
        size += video.stat().st_size
        frames += part.facts["steps"]
    write()


def _numbers(file: int) -> dict[str, int]:
    chunk, number = divmod(file, _FILES_A_CHUNK)
    return {"chunk_index": chunk, "file_index": number}


def _write_episodes(
    parts: Sequence[Part],
    places: Sequence[Mapping[str, Any]],
    stats: Sequence[Mapping[str, Mapping[str, Any]]],
    out: Path,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "episode_index": part.index,
            "tasks": part.facts["tasks"],
            "length": part.facts["steps"],
            **place,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            **{
                f"stats/{column}/{name}": values
                for column, found in stat.items()
                for name, values in found.items()
            },
        }
        for part, place, stat in zip(parts, places, stats, strict=True)
    ]
    file = out / _EPISODES.format(chunk_index=0, file_index=0)
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file, compression="snappy")


def _write_tasks(tasks: Sequence[str], out: Path) -> None:
    """The texts are the index of a table of pandas, which is what lerobot looks them up by."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": list(tasks)})
    column = {"field_name": None, "metadata": None}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {
                **column,
                "name": "task_index",
                "field_name": "task_index",
                "pandas_type": "int64",
                "numpy_type": "int64",
            },
            {
                **column,
                "name": "task",
                "field_name": "task",
                "pandas_type": "unicode",
                "numpy_type": "object",
            },
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    table = table.replace_schema_metadata({"pandas": json.dumps(pandas)})
    pq.write_table(table, out / _TASKS)


def _read_table(file: Path) -> "pa.Table":
    import pyarrow as pa

    opened = _open_parquet(file)
    try:
        return opened.read()
    except (pa.ArrowException, OSError) as error:
        raise ConversionError(
            f"Expected whole Parquet in {file}, got {error}. Copy it again."
        ) from error


def _open_parquet(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.is_file():
        raise ConversionError(f"Expected a file {file}, found none. Copy the data set again.")
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise ConversionError(
            f"Expected whole Parquet in {file}, got {error}. Copy it again."
        ) from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConversionError(f"Expected JSON in {file}, got {error}. Copy it again.") from error
    if not isinstance(found, dict):
        raise ConversionError(
            f"Expected a mapping in {file}, got {type(found).__name__}. Copy it again."
        )
    return found


def _write_json(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(value, indent=4, ensure_ascii=False).encode())


def _text_schema(origin: Origin | None) -> "pa.Schema":
    import pyarrow as pa

    assert origin is not None
    content = base64.b64decode(origin.metadata["text_schema"])
    return pa.ipc.read_schema(pa.py_buffer(content))


def _named(given: Sequence[str] | None, default: str, features: Mapping[str, Any]) -> Sequence[str]:
    if given is not None:
        return given
    return [default] if default in features else []


def _is_further(name: str) -> bool:
    known = ("episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index")
    return name not in known and not name.startswith(("data/", "videos/", "meta/", "stats/"))
