"""Arrays that grow together, by atomic commits."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from egodtm_robot.core.errors import (
    CorruptStoreError,
    DiskSpaceError,
    StoreArrayError,
    StoreExistsError,
)
from egodtm_robot.core.storage.array_spec import ArraySpec
from egodtm_robot.core.storage.commit_record import (
    FORMAT,
    FORMAT_VERSION,
    ROOT_RECORD,
    encode_record,
    read_record,
    record_path,
    sha256,
)
from egodtm_robot.core.storage.committed_array import CommittedArray
from egodtm_robot.core.storage.digests import digest_of
from egodtm_robot.core.storage.files import TEMPORARY_SUFFIX, naming_full_disk, write_files
from egodtm_robot.core.storage.locking import FileLock
from egodtm_robot.core.storage.verification import Problem, verify_snapshot

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*")


class CommittedGroup:
    """Arrays that grow together, by atomic commits.

    All rows of one :meth:`append` are stored, or none. One process writes at a time; any number
    may read, each seeing the commit that was the last when it opened the group.

    Use :meth:`create` or :meth:`open`. As a context manager it closes itself.

    Args:
        root: folder of the Zarr hierarchy.
        name: name of the commit record; several groups may live in one hierarchy, each with its
            own record, lock and arrays.
        record: the commit record, as it was read.
        lock: of that record; held by the one process that may write.
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
            folder = self.root / name
            self.arrays[name] = CommittedArray(folder, name, _spec(stored), stored["rows"])

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
                "digests": [digest_of(rows[name]) for name in sorted(rows)],
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
            with naming_full_disk(self.root):
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
        with naming_full_disk(self.root):
            # A reader must never find a record whose arrays have no zarr.json yet.
            self._write(new, durable=True)
            earlier = {path: sha256(content) for path, content in expected.items()} | self._on_disk
            record["metadata"] = {
                path: {"sha256": sha256(content), "earlier": earlier[path]}
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
                if self._on_disk.get(path) != sha256(content):
                    files.append((self.root / path, content))
            self._write(files, durable=False)
            for file, content in files:
                self._on_disk[str(file.relative_to(self.root))] = sha256(content)

    def _write(self, files: Sequence[tuple[Path, bytes]], *, durable: bool) -> None:
        # Several records write the same zarr.json of a folder above their arrays; each has its own
        # temporary file, which its lock protects.
        write_files(files, self._temporary_suffix(), durable=durable)

    def _temporary_suffix(self) -> str:
        return f".{sha256(self.name.encode())[:8]}{TEMPORARY_SUFFIX}"

    def _remove_temporary(self) -> None:
        files = [self.root / path for path in self._metadata_files(self._record)]
        for file in [*files, record_path(self.root, self.name)]:
            file.with_name(file.name + self._temporary_suffix()).unlink(missing_ok=True)

    def _read_on_disk(self) -> None:
        for path in self._metadata_files(self._record):
            with contextlib.suppress(OSError):
                self._on_disk[path] = sha256((self.root / path).read_bytes())

    def _metadata_files(self, record: Mapping[str, Any]) -> dict[str, bytes]:
        """Path below root and content of every ``zarr.json`` of this group."""
        arrays = {}
        groups = {""} if self.name == ROOT_RECORD else set()
        for name, stored in record["arrays"].items():
            arrays[f"{name}/zarr.json"] = _spec(stored).metadata(stored["rows"])
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
            problems = verify_snapshot(last.root, last._record, last.arrays)
            sequence = read_record(self.root, self.name)["sequence"]
            # Metadata of a commit that came while we were reading is no damage: look again.
            if not problems or sequence == last._record["sequence"]:
                return problems


def _spec(stored: Mapping[str, Any]) -> ArraySpec:
    """The specification of an array that a commit record describes."""
    return ArraySpec(
        dtype=stored["dtype"],
        row_shape=tuple(stored["row_shape"]),
        chunk_rows=stored["chunk_rows"],
        compressed=stored["compressed"],
    )


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
            if beyond or file.name.endswith(TEMPORARY_SUFFIX):
                os.unlink(file.path)
