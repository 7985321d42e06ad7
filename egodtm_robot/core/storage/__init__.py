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

from egodtm_robot.core.storage.array_spec import ArraySpec
from egodtm_robot.core.storage.commit_record import (
    ROOT_RECORD,
    encode_record,
    read_record,
    record_names,
    record_path,
)
from egodtm_robot.core.storage.committed_array import CommittedArray
from egodtm_robot.core.storage.committed_group import CommittedGroup
from egodtm_robot.core.storage.disk_space import check_free_space, folder_bytes, format_bytes
from egodtm_robot.core.storage.verification import Problem

__all__ = [
    "ROOT_RECORD",
    "ArraySpec",
    "CommittedArray",
    "CommittedGroup",
    "Problem",
    "check_free_space",
    "encode_record",
    "folder_bytes",
    "format_bytes",
    "read_record",
    "record_names",
    "record_path",
]
