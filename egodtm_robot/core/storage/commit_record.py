"""The commit record: the one file that says what of a store counts as stored."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from egodtm_robot.core.errors import CorruptStoreError, StoreNotFoundError

FORMAT = "egodtm-robot-arrays"
FORMAT_VERSION = 1

RECORDS_FOLDER = ".commits"
"""Hidden folder of a store that holds commit records and locks; Zarr readers pass over it."""

ROOT_RECORD = "main"
"""Name of the record whose attributes are those of the Zarr root group."""

_RECORD_HEAD = b'{"sha256": "'
_RECORD_MIDDLE = b'", "commit": '
_RECORD_TAIL = b"}\n"


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
    return _RECORD_HEAD + sha256(body).encode() + _RECORD_MIDDLE + body + _RECORD_TAIL


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
    whole = _RECORD_HEAD + sha256(body).encode() + _RECORD_MIDDLE + body + _RECORD_TAIL
    if content != whole:
        raise CorruptStoreError(
            f"Commit record {path}: checksum does not match, bytes were changed or cut off. "
            f"Restore the file from a copy, or {_make_again(root, name)}."
        )
    record: dict[str, Any] = json.loads(body)
    if record.get("format") != FORMAT or record.get("version") != FORMAT_VERSION:
        raise CorruptStoreError(
            f"Commit record {path}: expected format {FORMAT} version {FORMAT_VERSION}, got "
            f"{record.get('format')} version {record.get('version')}. To go on, "
            f"{_make_again(root, name)}."
        )
    return record


def _make_again(root: Path, name: str) -> str:
    if name == ROOT_RECORD:
        return "make the store again"
    return f"remove it and the folder {root / name} to have their content computed again"


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()
