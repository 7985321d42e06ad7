"""Crash-safe, append-only Zarr v3 arrays.

A :class:`CommittedGroup` is a set of arrays that grow by whole commits. The files are ordinary
Zarr v3 (any Zarr reader opens them), but what counts as stored is said by one small JSON file, the
commit record, which is replaced atomically:

* Rows beyond the record are leftovers of a killed writer. They are ignored, and overwritten by the
  next append.
* A chunk that holds committed rows and has room for more is rewritten when rows are appended. The
  new file holds the same committed rows, is complete and on disk before it replaces the old one by
  a rename, and comes before the record: killed anywhere, a writer leaves the committed rows intact.
* ``zarr.json`` files follow from the record and are written after it. The record holds the hash of
  each, and of the version that a killed writer may have left there.
* Every chunk ends in a CRC-32C; every commit has a digest of its rows in each array; the record
  carries its own SHA-256. :meth:`CommittedGroup.verify` checks them all.

The chunks are encoded and decoded here rather than through zarr-python, because that is what gives
an fsync before the record, an error that names array and chunk, an error (not zeros) for a missing
chunk, and reads of single rows in less than half the time.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

from egodtm_robot.core.errors import (
    CorruptStoreError,
    DiskSpaceError,
    StoreArrayError,
    StoreExistsError,
    StoreNotFoundError,
)
from egodtm_robot.core.locking import FileLock

FORMAT = "egodtm-robot-arrays"
FORMAT_VERSION = 1

RECORDS_FOLDER = ".commits"
"""Hidden folder of a store that holds commit records and locks; Zarr readers pass over it."""

TARGET_CHUNK_BYTES = 640 * 1024
"""Uncompressed size that chunks are made for: 16 frames of 112 px, 4 of 224 px.

Measured: smaller chunks make reading whole episodes slower (files opened), larger ones make reading
single steps slower (bytes decoded in vain). Zarr's sharding was 2 to 3 times slower for both.
"""

MAXIMUM_CHUNK_ROWS = 1024
"""Bounds what an append of a few narrow rows has to rewrite."""

_ZSTD_LEVEL = 1
_CHECKSUM_BYTES = 4
_DIGEST_BYTES = 8
_RECORD_HEAD = b'{"sha256": "'
_RECORD_MIDDLE = b'", "commit": '
_RECORD_TAIL = b"}\n"
_TEMPORARY_SUFFIX = ".partial"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*")
_DTYPES = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)

# Decoding leaves the interpreter lock but needs a core; fsync waits, and those that wait together
# share one commit of the file system's journal.
_DECODING_THREADS = max(2, min(8, os.cpu_count() or 2))
_WRITING_THREADS = 16


@dataclass(frozen=True)
class ArraySpec:
    """What one growable array holds.

    Attributes:
        dtype: a NumPy number or bool type by name, stored little-endian.
        row_shape: shape of one row; () for a scalar.
        chunk_rows: rows a chunk file holds.
        compressed: whether chunks pass through Zstandard (images: yes, floats: no, for they do not
            get smaller).
    """

    dtype: str
    row_shape: tuple[int, ...]
    chunk_rows: int
    compressed: bool

    @classmethod
    def for_rows(cls, dtype: Any, row_shape: Sequence[int]) -> "ArraySpec":
        """Specification for rows of a type and shape, with this module's chunk size.

        Raises:
            StoreArrayError: the type is not a plain number or bool.
        """
        name = np.dtype(dtype).name
        if name not in _DTYPES:
            raise StoreArrayError(
                f"Expected an array of one of {', '.join(sorted(_DTYPES))}; got {name}."
            )
        row_bytes = np.dtype(name).itemsize * math.prod(row_shape)
        chunk_rows = min(MAXIMUM_CHUNK_ROWS, max(1, TARGET_CHUNK_BYTES // max(1, row_bytes)))
        return cls(
            dtype=name,
            row_shape=tuple(int(size) for size in row_shape),
            chunk_rows=chunk_rows,
            compressed=np.dtype(name).kind in "biu",
        )

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, uncompressed."""
        return np.dtype(self.dtype).itemsize * math.prod(self.row_shape)

    @property
    def storage_dtype(self) -> np.dtype:
        """The type as it lies on disk: little-endian."""
        return np.dtype(self.dtype).newbyteorder("<")

    def chunks(self, rows: int) -> int:
        """Number of chunks that hold ``rows`` rows."""
        return -(-rows // self.chunk_rows)

    def chunk_file(self, index: int) -> str:
        """File name of a chunk within the array's folder."""
        return "c." + ".".join([str(index)] + ["0"] * len(self.row_shape))

    def metadata(self, rows: int) -> bytes:
        """Content of the array's ``zarr.json`` when it has ``rows`` rows."""
        codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
        if self.compressed:
            codecs.append(
                {"name": "zstd", "configuration": {"level": _ZSTD_LEVEL, "checksum": False}}
            )
        codecs.append({"name": "crc32c"})
        content = {
            "shape": [rows, *self.row_shape],
            "data_type": self.dtype,
            "chunk_grid": {
                "name": "regular",
                "configuration": {
                    # Zarr allows no chunk of size 0, even along an axis of size 0.
                    "chunk_shape": [self.chunk_rows, *(max(1, size) for size in self.row_shape)]
                },
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": False if self.dtype == "bool" else 0,
            "codecs": codecs,
            "attributes": {},
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }
        return json.dumps(content).encode()

    def encode(self, rows: np.ndarray) -> bytes:
        """Bytes of a chunk that holds ``rows`` (at most chunk_rows), padded with zeros."""
        missing = self.chunk_rows - len(rows)
        if missing:
            padding = np.zeros((missing, *self.row_shape), dtype=self.storage_dtype)
            rows = np.concatenate([rows, padding])
        content = np.ascontiguousarray(rows, dtype=self.storage_dtype).tobytes()
        if self.compressed:
            content = bytes(Zstd(level=_ZSTD_LEVEL).encode(content))
        return content + google_crc32c.value(content).to_bytes(_CHECKSUM_BYTES, "little")

    def decode(self, content: bytes) -> np.ndarray:
        """The rows of a chunk, (chunk_rows, *row_shape), read-only.

        Raises:
            ValueError: the bytes are not those that ``encode`` made.
        """
        body = content[:-_CHECKSUM_BYTES]
        checksum = content[-_CHECKSUM_BYTES:]
        if google_crc32c.value(body).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
            raise ValueError("checksum does not match: bytes were changed or cut off")
        if self.compressed:
            try:
                body = Zstd().decode(body)
            except RuntimeError as error:
                raise ValueError(f"cannot be decompressed ({error})") from error
        expected = self.chunk_rows * self.row_bytes
        if len(body) != expected:
            raise ValueError(f"holds {len(body)} bytes in place of {expected}")
        return np.ndarray((self.chunk_rows, *self.row_shape), self.storage_dtype, body)


@dataclass(frozen=True)
class Problem:
    """Something that :meth:`CommittedGroup.verify` found.

    Attributes:
        array: name of the array, or of the file if no single array is concerned.
        chunk: index of the chunk, None if the problem is not in a chunk.
        message: what is wrong.
    """

    array: str
    chunk: int | None
    message: str

    def __str__(self) -> str:
        place = self.array if self.chunk is None else f"{self.array}, chunk {self.chunk}"
        return f"{place}: {self.message}"


class CommittedArray:
    """The committed rows of one array, read from its chunks. Safe to use from many threads."""

    def __init__(self, folder: Path, name: str, spec: ArraySpec, rows: int) -> None:
        self.folder = folder
        self.name = name
        self.spec = spec
        self.rows = rows
        self._last: tuple[int, np.ndarray] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all rows, (rows, *row_shape)."""
        return (self.rows, *self.spec.row_shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, uncompressed."""
        return self.rows * self.spec.row_bytes

    def chunk(self, index: int) -> np.ndarray:
        """Committed rows of a chunk, (<= chunk_rows, *row_shape), read-only.

        Raises:
            CorruptStoreError: the file is missing or is not what was written.
        """
        last = self._last
        if last is not None and last[0] == index:
            rows = last[1]
        else:
            try:
                rows = self.spec.decode((self.folder / self.spec.chunk_file(index)).read_bytes())
            except FileNotFoundError:
                raise self._corrupt(index, "the file is missing") from None
            except ValueError as error:
                raise self._corrupt(index, str(error)) from error
            # A walk over single steps meets the same chunk again and again.
            self._last = (index, rows)
        return rows[: self.rows - index * self.spec.chunk_rows]

    def _corrupt(self, index: int, reason: str) -> CorruptStoreError:
        file = self.folder / self.spec.chunk_file(index)
        return CorruptStoreError(
            f"Array {self.name!r}, chunk {index} ({file}): {reason}. Restore the file from a copy, "
            "or make the store anew."
        )

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop (not included; None: the end), as a new array.

        Raises:
            IndexError: the range is not within the committed rows.
            CorruptStoreError: a chunk is missing or damaged.
        """
        stop = self.rows if stop is None else stop
        if not 0 <= start <= stop <= self.rows:
            raise IndexError(
                f"Expected rows within 0 to {self.rows} of array {self.name!r}, got {start}:{stop}."
            )
        out = np.empty((stop - start, *self.spec.row_shape), dtype=self.spec.dtype)
        size = self.spec.chunk_rows

        def copy(index: int) -> None:
            first = max(start, index * size)
            last = min(stop, (index + 1) * size)
            rows = self.chunk(index)
            out[first - start : last - start] = rows[first - index * size : last - index * size]

        if stop > start:
            _for_each(copy, range(start // size, self.spec.chunks(stop)), _DECODING_THREADS)
        return out

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Rows at ``indices`` (any order, repeats allowed), each chunk decoded once.

        Raises:
            IndexError: an index is not within 0 to rows - 1.
            CorruptStoreError: a chunk is missing or damaged.
        """
        indices = np.asarray(indices, dtype=np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < self.rows:
            raise IndexError(
                f"Expected rows within 0 to {self.rows - 1} of array {self.name!r}, "
                f"got {indices.min()} to {indices.max()}."
            )
        out = np.empty((len(indices), *self.spec.row_shape), dtype=self.spec.dtype)
        if not len(indices):
            return out
        owner = indices // self.spec.chunk_rows
        order = np.argsort(owner, kind="stable")
        chunks, starts = np.unique(owner[order], return_index=True)
        places = dict(zip(chunks.tolist(), np.split(order, starts[1:]), strict=True))

        def copy(index: int) -> None:
            where = places[index]
            rows = indices[where] - index * self.spec.chunk_rows
            out[_slice_if_run(where)] = self.chunk(index)[_slice_if_run(rows)]

        _for_each(copy, list(places), _DECODING_THREADS)
        return out


def _slice_if_run(indices: np.ndarray) -> np.ndarray | slice:
    """The same indices as a slice if they count up by one: copying is then several times faster."""
    first = int(indices[0])
    if np.array_equal(indices, np.arange(first, first + len(indices))):
        return slice(first, first + len(indices))
    return indices


def _for_each(function: Callable[[int], None], indices: Sequence[int], threads: int) -> None:
    if len(indices) < 4:
        for index in indices:
            function(index)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(function, indices):
            pass


class CommittedGroup:
    """Arrays that grow together, by atomic commits.

    All rows of one :meth:`append` are stored, or none. One process writes at a time; any number
    may read, each seeing the commit that was the last when it opened the group.

    Use :meth:`create` or :meth:`open`. As a context manager it closes itself.

    Args:
        root: folder of the Zarr hierarchy.
        name: name of the commit record; several groups may live in one hierarchy, each with its
            own record, lock and arrays.
    """

    def __init__(self, root: Path, name: str, record: dict[str, Any], lock: FileLock) -> None:
        self.root = root
        self.name = name
        self._record = record
        self._lock = lock
        self._tails: dict[str, np.ndarray] = {}
        self._on_disk: dict[str, str] = {}  # SHA-256 of the zarr.json files, known while writing
        self._append_lock = threading.Lock()
        self.arrays: dict[str, CommittedArray] = {}
        self._load_arrays()

    # Opening and closing

    @classmethod
    def create(
        cls,
        root: str | Path,
        name: str,
        attributes: Mapping[str, Any],
        *,
        timeout_s: float = 10.0,
    ) -> "CommittedGroup":
        """A new group without arrays, open for writing. The first append brings the arrays.

        Raises:
            StoreExistsError: a record of that name exists.
            StoreLockedError: another process is writing to it.
            DiskSpaceError: the disk is full.
        """
        root = Path(root)
        lock = _lock(root, name)
        lock.acquire(timeout_s)
        try:
            if record_path(root, name).exists():
                raise StoreExistsError(
                    f"Expected no store at {root}, but one with a commit record {name!r} is there. "
                    "Open it to go on with it, or choose another path."
                )
            record = {
                "format": FORMAT,
                "version": FORMAT_VERSION,
                "name": name,
                "sequence": 0,
                "attributes": dict(attributes),
                "arrays": {},
                "metadata": {},
                "commits": [],
            }
            group = cls(root, name, record, lock)
            group._publish(record)
            return group
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(
        cls,
        root: str | Path,
        name: str,
        mode: Literal["r", "a"] = "r",
        *,
        timeout_s: float = 10.0,
    ) -> "CommittedGroup":
        """An existing group; mode "a" also clears away what a killed writer left.

        Args:
            root: folder of the Zarr hierarchy.
            name: name of the commit record.
            mode: "r" to read, "a" to append.
            timeout_s: how long "a" waits for another writer to finish.

        Raises:
            StoreNotFoundError: there is no such record.
            CorruptStoreError: the record was changed or is of an unknown version.
            StoreLockedError: another process kept writing for ``timeout_s``.
        """
        root = Path(root)
        lock = _lock(root, name)
        if mode == "r":
            return cls(root, name, read_record(root, name), lock)
        if mode != "a":
            raise ValueError(f'Expected mode "r" or "a", got {mode!r}.')
        if not record_path(root, name).exists():
            # Asked before locking, which would make the folder.
            read_record(root, name)
        lock.acquire(timeout_s)
        try:
            group = cls(root, name, read_record(root, name), lock)
            for array in group.arrays.values():
                _truncate(array)
            group._remove_temporary()
            group._read_on_disk()
            group._publish_metadata()
            return group
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Let the next writer in. Reading goes on working."""
        self._lock.release()
        self._tails.clear()

    def __enter__(self) -> "CommittedGroup":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load_arrays(self) -> None:
        for name, stored in self._record["arrays"].items():
            spec = ArraySpec(
                dtype=stored["dtype"],
                row_shape=tuple(stored["row_shape"]),
                chunk_rows=stored["chunk_rows"],
                compressed=stored["compressed"],
            )
            self.arrays[name] = CommittedArray(self.root / name, name, spec, stored["rows"])

    # What is committed

    @property
    def writable(self) -> bool:
        """Whether this process may append."""
        return self._lock.held

    @property
    def attributes(self) -> dict[str, Any]:
        """A copy of the attributes as of the last commit."""
        return dict(self._record["attributes"])

    @property
    def commits(self) -> list[dict[str, Any]]:
        """One dict for each append: the caller's ``entry``, and for each array, in the order of
        their sorted names, the number of ``rows`` and their ``digests``.
        """
        return self._record["commits"]

    # Writing

    def append(
        self,
        rows: Mapping[str, np.ndarray],
        entry: Mapping[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
        chunk_rows: Mapping[str, int] | None = None,
    ) -> None:
        """Append rows to every array and commit them; all or nothing.

        Args:
            rows: for each array its new rows, (n, *row_shape). n may differ between arrays. The
                first append decides which arrays there are.
            entry: JSON-able facts about this append, kept in ``commits``.
            attributes: JSON-able attributes to set or replace in the same commit.
            chunk_rows: rows of a chunk, for arrays where ``ArraySpec.for_rows`` does not know how
                they will be read; counts at the first append alone.

        Raises:
            StoreArrayError: the arrays or their shapes or types differ from those stored.
            StoreReadOnlyError: not open for writing in this process.
            DiskSpaceError: the disk is full; nothing was appended and the group stays usable.
        """
        with self._writing():
            arrays = self._arrays_for(rows, chunk_rows or {})
            tails: dict[str, np.ndarray] = {}
            files: list[tuple[Path, bytes]] = []
            for name in sorted(rows):
                tails[name] = self._chunk_files(arrays[name], rows[name], files)
            commit = {
                "entry": dict(entry or {}),
                "rows": [len(rows[name]) for name in sorted(rows)],
                "digests": [_digest(rows[name]) for name in sorted(rows)],
            }
            record = self._next_record()
            record["commits"] = [*record["commits"], commit]
            record["attributes"].update(attributes or {})
            grown = {}
            for name, array in arrays.items():
                # New objects: a thread that is reading keeps the ones it has.
                grown[name] = CommittedArray(
                    array.folder, name, array.spec, array.rows + len(rows[name])
                )
                record["arrays"][name] = {
                    "dtype": array.spec.dtype,
                    "row_shape": list(array.spec.row_shape),
                    "chunk_rows": array.spec.chunk_rows,
                    "compressed": array.spec.compressed,
                    "rows": grown[name].rows,
                }
            with _naming_full_disk(self.root):
                self._write(files, durable=True)
            self._publish(record)
            self.arrays = grown
            self._tails = tails

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set or replace attributes in a commit of their own.

        Raises:
            StoreReadOnlyError: not open for writing in this process.
            DiskSpaceError: the disk is full; nothing was changed.
        """
        with self._writing():
            record = self._next_record()
            record["attributes"].update(attributes)
            self._publish(record)

    def clear(self, attributes: Mapping[str, Any]) -> None:
        """Commit the loss of all rows and arrays, with new attributes, then remove their files.

        Raises:
            StoreReadOnlyError: not open for writing in this process.
        """
        with self._writing():
            record = self._next_record()
            record.update(attributes=dict(attributes), arrays={}, commits=[])
            folders = [array.folder for array in self.arrays.values()]
            self.arrays = {}
            self._tails = {}
            self._publish(record)
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self._lock.check_held()
        with self._append_lock:
            try:
                yield
            except (DiskSpaceError, StoreArrayError, CorruptStoreError):
                # Raised before anything was committed: memory and disk agree.
                raise
            except BaseException:
                # Interrupted (Ctrl-C, say) maybe just after the commit: whoever goes on must read
                # the record again first.
                self.close()
                raise

    def _arrays_for(
        self, rows: Mapping[str, np.ndarray], chunk_rows: Mapping[str, int]
    ) -> dict[str, CommittedArray]:
        if not self.arrays:
            arrays = {}
            for name, values in rows.items():
                _check_name(name)
                if values.ndim < 1:
                    raise StoreArrayError(f"Expected rows for array {name!r}, got a scalar.")
                spec = ArraySpec.for_rows(values.dtype, values.shape[1:])
                if name in chunk_rows:
                    spec = dataclasses.replace(spec, chunk_rows=chunk_rows[name])
                arrays[name] = CommittedArray(self.root / name, name, spec, 0)
                _truncate(arrays[name])
            return arrays
        if rows.keys() != self.arrays.keys():
            missing = sorted(self.arrays.keys() - rows.keys())
            unknown = sorted(rows.keys() - self.arrays.keys())
            raise StoreArrayError(
                f"Expected rows for the arrays {sorted(self.arrays)} of {self.root}; "
                f"missing: {missing or 'none'}, unknown: {unknown or 'none'}."
            )
        for name, values in rows.items():
            spec = self.arrays[name].spec
            if values.dtype != np.dtype(spec.dtype) or values.shape[1:] != spec.row_shape:
                raise StoreArrayError(
                    f"Expected rows of shape {spec.row_shape} and type {spec.dtype} for array "
                    f"{name!r}; got {values.shape[1:]} and {values.dtype}."
                )
        return dict(self.arrays)

    def _chunk_files(
        self, array: CommittedArray, rows: np.ndarray, files: list[tuple[Path, bytes]]
    ) -> np.ndarray:
        """Add the chunk files to write to ``files``; return the rows of the last, unfilled one."""
        size = array.spec.chunk_rows
        first = array.rows // size
        tail = self._tails.get(array.name)
        if tail is None:
            tail = array.chunk(first) if array.rows % size else rows[:0]
        rows = np.concatenate([tail, rows])
        for index in range(0, array.spec.chunks(len(rows))):
            content = array.spec.encode(rows[index * size : (index + 1) * size])
            files.append((array.folder / array.spec.chunk_file(first + index), content))
        return rows[len(rows) - len(rows) % size :].copy()

    def _next_record(self) -> dict[str, Any]:
        record = dict(self._record)
        record["sequence"] += 1
        record["attributes"] = dict(record["attributes"])
        record["arrays"] = dict(record["arrays"])
        return record

    def _publish(self, record: dict[str, Any]) -> None:
        """Replace the record, then the metadata files that follow from it."""
        expected = self._metadata_files(record)
        new = [(self.root / path, expected[path]) for path in expected if path not in self._on_disk]
        with _naming_full_disk(self.root):
            # A reader must never find a record whose arrays have no zarr.json yet.
            self._write(new, durable=True)
            earlier = {path: _sha256(content) for path, content in expected.items()} | self._on_disk
            record["metadata"] = {
                path: {"sha256": _sha256(content), "earlier": earlier[path]}
                for path, content in expected.items()
            }
            content = encode_record(record)
            self._write([(record_path(self.root, self.name), content)], durable=True)
        self._record = record
        self._publish_metadata()

    def _publish_metadata(self) -> None:
        """Bring the ``zarr.json`` files to the state of the record."""
        # The commit stands already. Should this fail, readers of this module do not notice (they
        # go by the record), verify knows the earlier version, and the next opening repairs it.
        # For the same reason these files need not be on the disk before we go on.
        with contextlib.suppress(OSError):
            files = []
            for path, content in self._metadata_files(self._record).items():
                if self._on_disk.get(path) != _sha256(content):
                    files.append((self.root / path, content))
            self._write(files, durable=False)
            for file, content in files:
                self._on_disk[str(file.relative_to(self.root))] = _sha256(content)

    def _write(self, files: Sequence[tuple[Path, bytes]], *, durable: bool) -> None:
        # Several records write the same zarr.json of a folder above their arrays; each has its own
        # temporary file, which its lock protects.
        _write_files(files, self._temporary_suffix(), durable=durable)

    def _temporary_suffix(self) -> str:
        return f".{_sha256(self.name.encode())[:8]}{_TEMPORARY_SUFFIX}"

    def _remove_temporary(self) -> None:
        files = [self.root / path for path in self._metadata_files(self._record)]
        for file in [*files, record_path(self.root, self.name)]:
            file.with_name(file.name + self._temporary_suffix()).unlink(missing_ok=True)

    def _read_on_disk(self) -> None:
        for path in self._metadata_files(self._record):
            with contextlib.suppress(OSError):
                self._on_disk[path] = _sha256((self.root / path).read_bytes())

    def _metadata_files(self, record: Mapping[str, Any]) -> dict[str, bytes]:
        """Path below root and content of every ``zarr.json`` of this group."""
        arrays = {}
        groups = {""} if self.name == ROOT_RECORD else set()
        for name, stored in record["arrays"].items():
            spec = ArraySpec(
                stored["dtype"],
                tuple(stored["row_shape"]),
                stored["chunk_rows"],
                stored["compressed"],
            )
            arrays[f"{name}/zarr.json"] = spec.metadata(stored["rows"])
            groups.update(str(parent) for parent in Path(name).parents if str(parent) != ".")
        files = {}
        for group in sorted(groups):
            attributes = {} if group else record["attributes"]
            content = {"attributes": attributes, "zarr_format": 3, "node_type": "group"}
            files[f"{group}/zarr.json".lstrip("/")] = json.dumps(content).encode()
        return files | arrays

    # Checking

    def verify(self) -> list[Problem]:
        """Read every byte of the last commit and compare it with what was written.

        Returns:
            What was found, in the order of the arrays; empty if all is well.

        Raises:
            CorruptStoreError: the commit record itself was changed.
        """
        while True:
            last = CommittedGroup.open(self.root, self.name)
            problems = last._verify_snapshot()
            sequence = read_record(self.root, self.name)["sequence"]
            # Metadata of a commit that came while we were reading is no damage: look again.
            if not problems or sequence == last._record["sequence"]:
                return problems

    def _verify_snapshot(self) -> list[Problem]:
        problems = []
        for path, hashes in self._record["metadata"].items():
            name = str(Path(path).parent) if path != "zarr.json" else path
            try:
                found = _sha256((self.root / path).read_bytes())
            except OSError:
                problems.append(Problem(name, None, f"metadata file {path} is missing"))
                continue
            if found not in (hashes["sha256"], hashes["earlier"]):
                problems.append(Problem(name, None, f"metadata file {path} was changed"))
        with ThreadPoolExecutor(_DECODING_THREADS) as pool:
            for array in self.arrays.values():
                problems += self._verify_array(array, pool)
        return problems

    def _verify_array(self, array: CommittedArray, pool: ThreadPoolExecutor) -> list[Problem]:
        problems: list[Problem] = []

        def load(index: int) -> np.ndarray | str:
            try:
                file = array.folder / array.spec.chunk_file(index)
                rows = array.spec.decode(file.read_bytes())
                return rows[: array.rows - index * array.spec.chunk_rows]
            except FileNotFoundError:
                return "the file is missing"
            except (OSError, ValueError) as error:
                return str(error)

        def chunks() -> Iterator[np.ndarray | str]:
            # A bounded window, so that an array larger than memory can be checked.
            window = 4 * _DECODING_THREADS
            for start in range(0, array.spec.chunks(array.rows), window):
                stop = min(start + window, array.spec.chunks(array.rows))
                yield from pool.map(load, range(start, stop))

        # Walk chunks and commits side by side; a commit that touches a damaged chunk has no digest.
        column = sorted(self.arrays).index(array.name)
        bounds = np.cumsum([0] + [commit["rows"][column] for commit in self.commits])
        number = 0
        digest = _new_digest()
        whole = True
        row = 0
        for index, loaded in enumerate(chunks()):
            stop = min((index + 1) * array.spec.chunk_rows, array.rows)
            if isinstance(loaded, str):
                problems.append(Problem(array.name, index, loaded))
            start = row
            while row < stop or (number < len(self.commits) and bounds[number + 1] == row):
                end = min(stop, int(bounds[number + 1]))
                if isinstance(loaded, str):
                    whole = whole and end == row
                else:
                    digest.update(np.ascontiguousarray(loaded[row - start : end - start]))
                row = end
                if row < bounds[number + 1]:
                    break
                if whole and digest.hexdigest() != self.commits[number]["digests"][column]:
                    problems.append(
                        Problem(array.name, index, f"the rows of commit {number} were changed")
                    )
                number, digest, whole = number + 1, _new_digest(), True
        return problems


ROOT_RECORD = "main"
"""Name of the record whose attributes are those of the Zarr root group."""


def record_path(root: Path, name: str) -> Path:
    """Where the commit record of that name lies."""
    return root / RECORDS_FOLDER / f"{name}.json"


def record_names(root: Path) -> list[str]:
    """Names of all commit records of a hierarchy, sorted."""
    folder = root / RECORDS_FOLDER
    return sorted(str(path.relative_to(folder))[: -len(".json")] for path in folder.rglob("*.json"))


def encode_record(record: Mapping[str, Any]) -> bytes:
    """File content of a commit record: JSON with the SHA-256 of its commit in front."""
    body = json.dumps(record, separators=(",", ":")).encode()
    return _RECORD_HEAD + _sha256(body).encode() + _RECORD_MIDDLE + body + _RECORD_TAIL


def read_record(root: Path, name: str) -> dict[str, Any]:
    """The commit record of that name.

    Raises:
        StoreNotFoundError: there is none.
        CorruptStoreError: its bytes were changed, or it is of another format or version.
    """
    path = record_path(root, name)
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise StoreNotFoundError(
            f"Expected a store with the commit record {path}, but there is none. Check the path, "
            "or make the store first."
        ) from None
    start = len(_RECORD_HEAD)
    body_start = start + 64 + len(_RECORD_MIDDLE)
    body = content[body_start : -len(_RECORD_TAIL)]
    whole = _RECORD_HEAD + _sha256(body).encode() + _RECORD_MIDDLE + body + _RECORD_TAIL
    if content != whole:
        raise CorruptStoreError(
            f"Commit record {path}: checksum does not match, bytes were changed or cut off. "
            f"Restore the file from a copy, or {_make_anew(root, name)}."
        )
    record: dict[str, Any] = json.loads(body)
    if record.get("format") != FORMAT or record.get("version") != FORMAT_VERSION:
        raise CorruptStoreError(
            f"Commit record {path}: expected format {FORMAT} version {FORMAT_VERSION}, got "
            f"{record.get('format')} version {record.get('version')}. To go on, "
            f"{_make_anew(root, name)}."
        )
    return record


def _make_anew(root: Path, name: str) -> str:
    if name == ROOT_RECORD:
        return "make the store anew"
    return f"remove it and the folder {root / name} to have their content computed again"


def check_free_space(path: str | Path, required_bytes: int) -> None:
    """Raise DiskSpaceError unless the disk that holds ``path`` has so much room, and 5 % more.

    Args:
        path: a file or folder that exists or is to be made.
        required_bytes: bytes about to be written.
    """
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < 1.05 * required_bytes:
        raise DiskSpaceError(
            errno.ENOSPC,
            f"Expected {format_bytes(1.05 * required_bytes)} of free disk for {path}, but only "
            f"{format_bytes(free)} are free. Make room, choose another path, or ask for less.",
        )


def format_bytes(count: float) -> str:
    """A number of bytes for people: "1.3 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _lock(root: Path, name: str) -> FileLock:
    _check_name(name)
    return FileLock(record_path(root, name).with_suffix(".lock"), f"{root} ({name})")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise StoreArrayError(
            "Expected a name of letters, digits, '_', '-' and '.', in parts divided by '/', none "
            f"of which begins with '.' or '-'; got {name!r}."
        )


def _truncate(array: CommittedArray) -> None:
    """Remove temporary files and the chunks that lie wholly beyond the committed rows."""
    if not array.folder.is_dir():
        return
    kept = array.spec.chunks(array.rows)
    with os.scandir(array.folder) as files:
        for file in files:
            is_chunk = re.fullmatch(r"c(\.\d+)+", file.name)
            beyond = is_chunk and int(file.name.split(".")[1]) >= kept
            if beyond or file.name.endswith(_TEMPORARY_SUFFIX):
                os.unlink(file.path)


def _write_files(
    files: Sequence[tuple[Path, bytes]], temporary_suffix: str, *, durable: bool
) -> None:
    """Replace files, each atomically.

    All are written beside their places before the first is moved there. If ``durable``, they and
    their names are on the disk when it returns.
    """
    moves = [(path.with_name(path.name + temporary_suffix), path) for path, _ in files]
    folders = sorted({path.parent for path, _ in files})
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)

    def write(position: int) -> None:
        with open(moves[position][0], "wb") as file:
            file.write(files[position][1])
            file.flush()
            if durable:
                os.fsync(file.fileno())

    def synchronise(position: int) -> None:
        descriptor = os.open(folders[position], os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    try:
        _for_each(write, range(len(files)), _WRITING_THREADS)
        for temporary, path in moves:
            os.replace(temporary, path)
    except BaseException:
        for temporary, _ in moves:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        raise
    if durable:
        _for_each(synchronise, range(len(folders)), _WRITING_THREADS)


@contextlib.contextmanager
def _naming_full_disk(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskSpaceError(
            error.errno,
            f"The disk is full: nothing more was committed to {root}. What was committed before is "
            "whole; make room and go on.",
        ) from error


def _new_digest() -> Any:
    return hashlib.blake2b(digest_size=_DIGEST_BYTES)


def _digest(rows: np.ndarray) -> str:
    digest = _new_digest()
    digest.update(np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("<")))
    return str(digest.hexdigest())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
