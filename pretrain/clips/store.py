"""Clips on disk: a folder of shards, each crash-safe Zarr v3 with one writer, read as one store.

A shard is one :class:`~egodtm_robot.core.storage.CommittedGroup`: what is not in its commit record
does not exist, every chunk has its checksum, and a killed writer loses at most the clips that it
was appending. One chunk is one clip wherever a clip is large.

    shard_0000/
        frames (C, T, H, W, 3) uint8
        index (C, 5) int64                see INDEX
        text (bytes,) uint8               a JSON object a clip: narration, caption, source, ...
        boxes/labels (M, 5) int16         see LABELS
        boxes/xyxy (M, 4) float32
        depth (D, T, h, w) uint16         times depth_scale gives the depth
        depth_valid (D, T, h, w) bool     False where the depth is not known
        depth_scale (D,) float64
        masks (K, T, h, w) uint8
        camera_pose (P, T, 7) float32
        segmentation (C, T, h, w) uint8
        normals (C, T, h, w, 3) int8      times 1 / 127; all 0 where not known
        points (C, Q, h, w, 2) uint16     times 1 / 65,534; 65,535 where not known
        looks (C, T, H, W, 3) uint8
    shard_0001/ ...

Text and boxes are ragged: ``index`` holds where those of each clip end. Depth, masks and pose exist
for the clips that have them; ``index`` holds their row, or -1. The last four are dense truth (see
:mod:`pretrain.clips.dense`): a store says which of it its clips have, and then all of them have it.
"""

import bisect
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from egodtm_robot.core.errors import (
    ForeignStoreError,
    InvalidClipError,
    StoreArrayError,
    StoreExistsError,
    StoreNotFoundError,
    UnknownNameError,
)
from egodtm_robot.core.storage import ROOT_RECORD, CommittedGroup, Problem, record_path
from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.clips.clip import Boxes, Clip
from pretrain.clips.dense import DENSE_KINDS, DenseKind

KIND = "egodtm-robot-clips"
VERSION = 1

DENSE_VERSION = 2
"""Of stores with dense truth, which readers of version 1 do not know. Others are of version 1."""

INDEX = ("text_end", "boxes_end", "depth_row", "masks_row", "camera_pose_row")
"""Columns of the array ``index``."""

LABELS = ("frame", "track", "category", "side", "contact")
"""Columns of the array ``boxes/labels``; a category counts in the clip's own list of names."""

TEXT_FIELDS = (
    "narration", "caption", "distractors", "key", "scene", "source", "licence", "depth_kind",
    "extra",
)  # fmt: skip
"""What the JSON object of a clip holds, beside ``categories``."""

FIELDS = ("frames", "depth", "masks", "boxes", "camera_pose", *TEXT_FIELDS, *DENSE_KINDS)
"""What :meth:`ClipStore.read` can read: the fields of a clip."""

_OPTIONAL = ("depth", "masks", "camera_pose")
_LARGEST_CODE = np.iinfo(np.uint16).max
_NORMAL_CODES = np.iinfo(np.int8).max

# Appending rewrites the last chunk of a narrow array, reading a clip decodes one; 64 kB suit both.
_CHUNK_ROWS = {
    "frames": 1,
    "depth": 1,
    "depth_valid": 1,
    "masks": 1,
    "camera_pose": 64,
    "segmentation": 1,
    "normals": 1,
    "points": 1,
    "looks": 1,
    "text": 65_536,
    "boxes/labels": 1_024,
    "boxes/xyxy": 1_024,
}


class ClipStoreWriter:
    """Appends clips to one shard of a store. Use as a context manager, or close it.

    Clips are numbered through the shards in the order of their numbers. A source that puts its
    clips k * n to (k + 1) * n into shard k keeps one numbering whatever the number of writers.

    Use :meth:`create` or :meth:`open`.
    """

    def __init__(self, path: Path, shard: int, group: CommittedGroup) -> None:
        self.path = path
        self.shard = shard
        self._group = group

    @classmethod
    def create(
        cls,
        path: str | Path,
        attributes: Mapping[str, Any] | None = None,
        *,
        shard: int = 0,
        depth_shape: tuple[int, int] | None = None,
        masks_shape: tuple[int, int] | None = None,
        dense: Sequence[DenseKind] = (),
        timeout_s: float = 10.0,
    ) -> "ClipStoreWriter":
        """A new, empty shard, open for appending.

        Args:
            path: folder of the store; made if missing.
            attributes: JSON-able facts about all clips of the shard, such as what made them.
            shard: number of the shard, from 0; one writer each.
            depth_shape: (h, w) of depth maps, to be named if the first clips may lack depth.
            masks_shape: the same of masks.
            dense: kinds of dense truth that all clips of the shard have.
            timeout_s: how long to wait for another writer of the same shard.

        Raises:
            StoreExistsError: the shard exists, or something else lies at ``path``.
            StoreLockedError: another process is writing to the shard.
            DiskSpaceError: the disk is full.
        """
        path = Path(path)
        if path.exists() and not path.is_dir():
            raise StoreExistsError(f"Expected a free path for a new store, but {path} is a file.")
        if path.is_dir():
            foreign = sorted(
                p.name
                for p in path.iterdir()
                if not p.name.startswith((".", "shard_")) and p.name != "zarr.json"
            )
            if foreign:
                raise StoreExistsError(
                    f"Expected an empty folder or a clip store, but {path} holds "
                    f"{', '.join(foreign[:3])}. Choose another path."
                )
        path.mkdir(parents=True, exist_ok=True)
        # For readers of Zarr that look at the folder as a whole.
        root = {"attributes": {"kind": KIND}, "zarr_format": 3, "node_type": "group"}
        write_atomically(path / "zarr.json", json.dumps(root).encode())
        values = {
            "kind": KIND,
            "version": DENSE_VERSION if dense else VERSION,
            "index_columns": list(INDEX),
            "label_columns": list(LABELS),
            "depth_shape": None if depth_shape is None else list(depth_shape),
            "masks_shape": None if masks_shape is None else list(masks_shape),
            "source": dict(attributes or {}),
        }
        if dense:
            values["dense"] = [kind for kind in DENSE_KINDS if kind in dense]
        folder = path / shard_name(shard)
        group = CommittedGroup.create(folder, ROOT_RECORD, values, timeout_s=timeout_s)
        return cls(path, shard, group)

    @classmethod
    def open(
        cls, path: str | Path, *, shard: int = 0, timeout_s: float = 10.0
    ) -> "ClipStoreWriter":
        """An existing shard, to go on after its last commit.

        Raises:
            StoreNotFoundError: there is no such shard.
            ForeignStoreError: it holds something other than clips.
            StoreLockedError: another process kept writing to it for ``timeout_s``.
        """
        path = Path(path)
        folder = path / shard_name(shard)
        _check_kind(CommittedGroup.open(folder, ROOT_RECORD), folder)
        group = CommittedGroup.open(folder, ROOT_RECORD, "a", timeout_s=timeout_s)
        return cls(path, shard, group)

    def close(self) -> None:
        """Let the next writer in."""
        self._group.close()

    def __enter__(self) -> "ClipStoreWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Clips committed to this shard so far: the place of the next one."""
        return self._group.arrays["frames"].rows if self._group.arrays else 0

    @property
    def attributes(self) -> dict[str, Any]:
        """What :meth:`create` was given."""
        return dict(self._group.attributes["source"])

    def append(self, clips: Sequence[Clip]) -> None:
        """Append clips in one atomic commit: all of them, or none.

        Args:
            clips: of the same shapes as those before. A commit waits for the disk, so a few dozen
                at a time are faster than one.

        Raises:
            InvalidClipError: a clip contradicts itself or the store.
            StoreReadOnlyError: the writer was closed, or belongs to another process.
            DiskSpaceError: the disk is full; earlier clips are kept.
        """
        if not clips:
            return
        for clip in clips:
            try:
                clip.check()
            except InvalidClipError as error:
                raise InvalidClipError(f"Clip {clip.key!r}: {error}") from error
        rows = self._large_arrays(clips) | _ragged_arrays(clips)
        rows["index"] = self._index(clips, rows)
        try:
            self._group.append(rows, {"clips": len(clips)}, chunk_rows=_CHUNK_ROWS)
        except StoreArrayError as error:
            raise InvalidClipError(
                f"Clips {clips[0].key!r} to {clips[-1].key!r} do not fit {self.path}: {error}"
            ) from error

    def _large_arrays(self, clips: Sequence[Clip]) -> dict[str, np.ndarray]:
        length = len(clips[0].frames)
        rows = {"frames": _stack("frames", [clip.frames for clip in clips])}
        depth = [clip.depth for clip in clips if clip.depth is not None]
        shape = (0, length, *self._map_shape("depth", depth))
        coded = [_encode_depth(values) for values in depth]
        rows["depth"] = _stack("depth", [code for code, _, _ in coded], shape, np.uint16)
        rows["depth_valid"] = _stack("depth", [valid for _, valid, _ in coded], shape, np.bool_)
        rows["depth_scale"] = np.array([scale for _, _, scale in coded], np.float64)
        masks = [clip.masks for clip in clips if clip.masks is not None]
        shape = (0, length, *self._map_shape("masks", masks))
        rows["masks"] = _stack("masks", masks, shape, np.uint8)
        poses = [clip.camera_pose for clip in clips if clip.camera_pose is not None]
        rows["camera_pose"] = _stack("camera_pose", poses, (0, length, 7), np.float32)
        declared = tuple(self._group.attributes.get("dense", ()))
        for clip in clips:
            if clip.dense != declared:
                raise InvalidClipError(
                    f"Expected clips with {_listed(declared)} in {self.path}, got {clip.key!r} "
                    f"with {_listed(clip.dense)}. All clips of a store have the dense truth that "
                    "it was created with."
                )
        for kind in declared:
            rows[kind] = _stack(kind, [_encode_dense(kind, getattr(clip, kind)) for clip in clips])
        return rows

    def _map_shape(self, name: str, maps: Sequence[np.ndarray]) -> tuple[int, ...]:
        """(h, w) of the maps of this store; (0, 0) if it has none."""
        declared = self._group.attributes[f"{name}_shape"]
        stored = self._group.arrays.get(name)
        if stored is not None:
            shape = stored.spec.row_shape[1:]
        elif declared is not None:
            shape = tuple(declared)
        else:
            shape = maps[0].shape[1:] if maps else (0, 0)
        for values in maps:
            if values.shape[1:] != shape:
                advice = (
                    f" Name {name}_shape when the store is created: its first clips had none."
                    if shape == (0, 0)
                    else ""
                )
                raise InvalidClipError(
                    f"Expected {name} of {shape} pixels in {self.path}, got {values.shape[1:]}."
                    + advice
                )
        return shape

    def _index(self, clips: Sequence[Clip], rows: Mapping[str, np.ndarray]) -> np.ndarray:
        arrays = self._group.arrays
        index = np.full((len(clips), len(INDEX)), -1, np.int64)
        text_start = arrays["text"].rows if arrays else 0
        boxes_start = arrays["boxes/xyxy"].rows if arrays else 0
        index[:, 0] = text_start + np.cumsum([len(_text(clip)) for clip in clips])
        index[:, 1] = boxes_start + np.cumsum([len(clip.boxes) for clip in clips])
        for column, name in enumerate(_OPTIONAL, start=2):
            row = arrays[name].rows if arrays else 0
            for position, clip in enumerate(clips):
                if getattr(clip, name) is not None:
                    index[position, column] = row
                    row += 1
        return index


class ClipStore:
    """Clips of one or many stores, numbered through, for reading. Picklable: spawned workers may
    be handed one, and open its files themselves.

    Use :meth:`open`.
    """

    def __init__(self, paths: Sequence[Path], shards: "Sequence[_Shard]") -> None:
        self.paths = tuple(paths)
        self._shards = tuple(shards)
        self._starts = [0]
        for shard in shards:
            self._starts.append(self._starts[-1] + shard.clips)

    @classmethod
    def open(cls, path: "str | Path | Sequence[str | Path]") -> "ClipStore":
        """All committed clips of a store, or of several in the order of their paths.

        Args:
            path: folder of a store or of one shard, or several of them.

        Raises:
            StoreNotFoundError: there is no clip store at a path.
            ForeignStoreError: a path holds a store of something else.
            CorruptStoreError: a commit record was changed.
        """
        paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(one) for one in path]
        if not paths:
            raise StoreNotFoundError("Expected at least one path of a clip store, got none.")
        shards = []
        for one in paths:
            folders = _shard_folders(one)
            if not folders:
                raise StoreNotFoundError(
                    f"Expected a clip store at {one}, but there is none. Check the path, or make "
                    "the store first."
                )
            shards += [_Shard(folder) for folder in folders]
        return cls(paths, shards)

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def attributes(self) -> list[dict[str, Any]]:
        """What each shard's ``create`` was given."""
        return [dict(shard.group.attributes["source"]) for shard in self._shards]

    @property
    def frame_shapes(self) -> list[tuple[int, ...]]:
        """(T, H, W, 3) of the clips of each shard that has any."""
        shards = [shard.group.arrays for shard in self._shards if shard.clips]
        return [arrays["frames"].spec.row_shape for arrays in shards]

    def frame_shape(self, index: int) -> tuple[int, ...]:
        """(T, H, W, 3) of clip number ``index``."""
        shard, _ = self._place(index)
        return shard.group.arrays["frames"].spec.row_shape

    @property
    def fingerprint(self) -> str:
        """Fingerprint of all clips, see :meth:`prefix_fingerprint`."""
        return self.prefix_fingerprint(len(self))

    def prefix_fingerprint(self, clips: int) -> str:
        """16 hex digits of the content of the first clips, from the commit records alone.

        The last commit counts only if all of its clips do.
        """
        content: list[Any] = [clips]
        for shard, start in zip(self._shards, self._starts, strict=False):
            for commit in shard.group.commits:
                start += commit["entry"]["clips"]
                if start <= clips:
                    content.append(commit["digests"])
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def __getitem__(self, index: int) -> Clip:
        """Clip number ``index``, whole."""
        if not 0 <= index < len(self):
            # The IndexError also ends a loop over the store.
            raise IndexError(f"Expected a clip from 0 to {len(self) - 1}, got {index}.")
        shard, row = self._place(index)
        return Clip(**{name: shard.field(row, name) for name in FIELDS})

    def read(self, indices: Sequence[int] | np.ndarray, fields: Sequence[str]) -> dict[str, list]:
        """Some fields of some clips; nothing else is read from the disk.

        Args:
            indices: which clips, in any order.
            fields: names among FIELDS.

        Returns:
            For each field a list with its value for each index.

        Raises:
            IndexError: there is no such clip.
            UnknownNameError: there is no such field.
            CorruptStoreError: stored bytes were changed.
        """
        for name in fields:
            if name not in FIELDS:
                raise UnknownNameError("field of a clip", name, FIELDS)
        places = []
        for index in np.asarray(indices, np.int64).tolist():
            if not 0 <= index < len(self):
                raise IndexError(f"Expected clips from 0 to {len(self) - 1}, got {index}.")
            places.append(self._place(index))
        return {name: [shard.field(row, name) for shard, row in places] for name in fields}

    def has(self, field: Literal["depth", "masks", "camera_pose"] | DenseKind) -> np.ndarray:
        """Which clips have depth, masks, a camera pose or a kind of dense truth, bool (clips,)."""
        if field in DENSE_KINDS:
            own = [np.full(shard.clips, field in shard.dense) for shard in self._shards]
            return np.concatenate(own) if own else np.zeros(0, bool)
        column = 2 + _OPTIONAL.index(field)
        parts = [shard.index[:, column] >= 0 for shard in self._shards]
        return np.concatenate(parts) if parts else np.zeros(0, bool)

    def verify(self) -> list[Problem]:
        """Read every committed byte and name all that was changed or is missing."""
        problems = []
        for shard in self._shards:
            for problem in shard.group.verify():
                name = f"{shard.folder.name}/{problem.array}"
                problems.append(Problem(name, problem.chunk, problem.message))
        return problems

    def _place(self, index: int) -> "tuple[_Shard, int]":
        number = bisect.bisect_right(self._starts, index) - 1
        return self._shards[number], index - self._starts[number]


class _Shard:
    """The committed clips of one shard."""

    def __init__(self, folder: Path, clips: int | None = None) -> None:
        self.folder = folder
        self.group = CommittedGroup.open(folder, ROOT_RECORD)
        _check_kind(self.group, folder)
        stored = self.group.arrays["frames"].rows if self.group.arrays else 0
        self.clips = stored if clips is None else clips
        self._index: np.ndarray | None = None
        self._last_text: tuple[int, dict[str, Any]] = (-1, {})

    def __reduce__(self) -> tuple[Any, ...]:
        # A process that opens it later may find more clips; it is to see the same.
        return (_Shard, (self.folder, self.clips))

    @property
    def index(self) -> np.ndarray:
        """int64 (clips, 5): see INDEX."""
        if self._index is None:
            arrays = self.group.arrays
            empty = np.zeros((0, len(INDEX)), np.int64)
            self._index = arrays["index"].read(0, self.clips) if arrays else empty
        return self._index

    @property
    def dense(self) -> tuple[str, ...]:
        """Kinds of dense truth that its clips have."""
        return tuple(self.group.attributes.get("dense", ()))

    def field(self, row: int, name: str) -> Any:
        """One field of one clip, as it was given to ``append``."""
        if name in DENSE_KINDS:
            if name not in self.dense:
                return None
            return _decode_dense(name, self.group.arrays[name].read(row, row + 1)[0])
        if name == "frames":
            return self.group.arrays["frames"].read(row, row + 1)[0]
        if name == "boxes":
            return self._boxes(row)
        if name in _OPTIONAL:
            place = int(self.index[row, 2 + _OPTIONAL.index(name)])
            if place < 0:
                return None
            if name == "depth":
                return self._depth(place)
            return self.group.arrays[name].read(place, place + 1)[0]
        value = self._text(row)[name]
        return tuple(value) if name == "distractors" else value

    def _depth(self, place: int) -> np.ndarray:
        arrays = self.group.arrays
        scale = arrays["depth_scale"].read(place, place + 1)[0]
        depth = _decode_depth(arrays["depth"].read(place, place + 1)[0], scale)
        valid = arrays["depth_valid"].read(place, place + 1)[0]
        if not valid.all():
            depth[~valid] = np.nan
        return depth

    def _boxes(self, row: int) -> Boxes:
        start, stop = self._span(row, 1)
        labels = self.group.arrays["boxes/labels"].read(start, stop)
        names = self._text(row)["categories"]
        columns = dict(zip(LABELS, labels.T, strict=True))
        return Boxes(
            frame=columns["frame"].copy(),
            track=columns["track"].copy(),
            category=[names[number] for number in columns["category"]],
            side=columns["side"].astype(np.int8),
            contact=columns["contact"].astype(bool),
            xyxy=self.group.arrays["boxes/xyxy"].read(start, stop),
        )

    def _text(self, row: int) -> dict[str, Any]:
        if self._last_text[0] != row:
            start, stop = self._span(row, 0)
            content = self.group.arrays["text"].read(start, stop).tobytes()
            self._last_text = (row, json.loads(content))
        return self._last_text[1]

    def _span(self, row: int, column: int) -> tuple[int, int]:
        start = int(self.index[row - 1, column]) if row else 0
        return start, int(self.index[row, column])


def shard_name(shard: int) -> str:
    """Folder of a shard within its store."""
    if not 0 <= shard <= 9_999:
        raise ValueError(f"Expected a shard number from 0 to 9999, got {shard}.")
    return f"shard_{shard:04d}"


def _shard_folders(path: Path) -> list[Path]:
    """Folders of the shards at ``path``, or itself; without a record a folder is no shard yet."""
    if record_path(path, ROOT_RECORD).exists():
        return [path]
    return [f for f in sorted(path.glob("shard_*")) if record_path(f, ROOT_RECORD).exists()]


def _check_kind(group: CommittedGroup, folder: Path) -> None:
    kind, version = (group.attributes.get(key) for key in ("kind", "version"))
    if kind != KIND or version not in (VERSION, DENSE_VERSION):
        raise ForeignStoreError(
            f"Expected a store of kind {KIND!r}, version {VERSION} or {DENSE_VERSION}, but "
            f"{folder} holds kind {kind!r}, version {version!r}. Choose a clip store, or make "
            "this one again."
        )


def _encode_depth(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Codes, validity and what a code counts for: the farthest pixel has the largest code.

    Half a code is the largest error: 0.04 mm where nothing is farther than 5 m.
    """
    valid = ~np.isnan(depth)
    known = np.where(valid, depth, 0).astype(np.float64)
    scale = float(known.max()) / _LARGEST_CODE or 1.0
    return np.rint(known / scale).astype(np.uint16), valid, scale


def _decode_depth(codes: np.ndarray, scale: float) -> np.ndarray:
    return (codes * np.float64(scale)).astype(np.float32)


def _encode_dense(kind: str, values: np.ndarray) -> np.ndarray:
    if kind in ("segmentation", "looks"):
        return values
    known = ~np.isnan(values)
    if kind == "normals":
        return np.rint(np.where(known, values, 0) * _NORMAL_CODES).astype(np.int8)
    codes = np.rint(np.where(known, values, 0) * (_LARGEST_CODE - 1)).astype(np.uint16)
    return np.where(known, codes, np.uint16(_LARGEST_CODE))


def _decode_dense(kind: str, codes: np.ndarray) -> np.ndarray:
    if kind in ("segmentation", "looks"):
        return codes
    if kind == "normals":
        values = codes.astype(np.float32)
        length = np.linalg.norm(values, axis=-1, keepdims=True)
        return np.where(length > 0, values / np.maximum(length, 1), np.float32(np.nan))
    values = codes.astype(np.float32) / np.float32(_LARGEST_CODE - 1)
    return np.where(codes == _LARGEST_CODE, np.float32(np.nan), values)


def _listed(kinds: Sequence[str]) -> str:
    return ", ".join(kinds) or "no dense truth"


def _text(clip: Clip) -> bytes:
    content = {name: getattr(clip, name) for name in TEXT_FIELDS}
    content["categories"] = sorted(set(clip.boxes.category))
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _ragged_arrays(clips: Sequence[Clip]) -> dict[str, np.ndarray]:
    labels = []
    for clip in clips:
        boxes = clip.boxes
        names = sorted(set(boxes.category))
        category = np.array([names.index(name) for name in boxes.category], np.int16)
        columns = (boxes.frame, boxes.track, category, boxes.side, boxes.contact)
        labels.append(np.stack([column.astype(np.int16) for column in columns], axis=1))
    return {
        "text": np.frombuffer(b"".join(_text(clip) for clip in clips), np.uint8),
        "boxes/labels": np.concatenate(labels),
        "boxes/xyxy": np.concatenate([clip.boxes.xyxy for clip in clips]),
    }


def _stack(
    name: str,
    values: Sequence[np.ndarray],
    empty: tuple[int, ...] | None = None,
    dtype: Any = None,
) -> np.ndarray:
    if not values:
        assert empty is not None
        return np.zeros(empty, dtype)
    shapes = {one.shape for one in values}
    if len(shapes) > 1:
        raise InvalidClipError(f"Expected {name} of one shape in a store, got {sorted(shapes)}.")
    return np.stack(values)
