"""What one stage wrote for one shard: a single file, wholly there or not there.

A NumPy archive (``.npz``, read without unpickling): a zip file, so every array has its CRC-32. The
member ``meta`` is JSON; the arrays of clip number i of the shard are named ``i/<field>``, those of
boxes and detections ``i/<field>/<column>``.
"""

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from egodtm_robot.core.errors import CorruptStoreError
from egodtm_robot.core.storage.atomic_files import atomic_file
from pretrain.clips.annotated_clip import Detections
from pretrain.clips.clip import Boxes
from pretrain.clips.store import shard_name
from pretrain.preparation.plan import fingerprint

VERSION = 1

IN_STORE = {"kind": "store"}
"""Describes frames that lie in the clip store alone."""

_TABLES: dict[str, type[Boxes] | type[Detections]] = {"boxes": Boxes, "detections": Detections}
_DAMAGED = (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error)


@dataclass
class StageOutput:
    """The fields that a stage gave to the clips of a shard.

    Attributes:
        stage: which stage.
        name: of the annotator.
        fingerprint: of the annotator and of all that it read.
        clips: fields of each clip that came through, by its key, in the order of the shard.
        failures: why the others did not, by their keys.
        seconds: a worker was busy with them.
        cpu_seconds: of them, on all of its threads: what a loaded machine does not lengthen.
        statistics: numbers that the report adds up.
    """

    stage: str
    name: str
    fingerprint: str
    clips: dict[str, Mapping[str, Any]]
    failures: dict[str, str]
    seconds: float
    cpu_seconds: float
    statistics: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """The fingerprint together with the clips that failed: what later stages depend on."""
        return fingerprint(self.fingerprint, sorted(self.failures))


@dataclass(frozen=True)
class StageRecord:
    """What a file says of itself; the arrays are read by :meth:`StageFile.fields`.

    Attributes:
        stage: which stage.
        name: of the annotator.
        fingerprint: of the annotator and of all that it read.
        identity: the fingerprint together with the clips that failed: what the stages after it
            depend on.
        keys: clips that came through.
        failures: why the others did not.
        seconds: a worker was busy with them.
        cpu_seconds: of them, on all of its threads.
        statistics: numbers that the report adds up.
        keys_in_store: clips whose frames lie in the clip store alone.
    """

    stage: str
    name: str
    fingerprint: str
    identity: str
    keys: tuple[str, ...]
    failures: dict[str, str]
    seconds: float
    cpu_seconds: float
    statistics: dict[str, Any]
    keys_in_store: frozenset[str]


def stage_path(folder: Path, stage: str, shard: int) -> Path:
    """The file of a stage and a shard.

    Args:
        folder: ``.prepare`` of the store.
        stage: which stage.
        shard: number of the shard.
    """
    return folder / stage / f"{shard_name(shard)}.npz"


def write_stage(path: Path, output: StageOutput) -> None:
    """Write a stage's output; a crash leaves the file that was there, or the new one.

    Args:
        path: see :func:`stage_path`; its folder is made if missing.
        output: what to write.

    Raises:
        TypeError: a field is neither an array nor boxes nor what JSON can hold.
        OSError: it cannot be written, as where the disk is full.
    """
    arrays: dict[str, np.ndarray] = {}
    described = []
    for row, (key, fields) in enumerate(output.clips.items()):
        kinds = {}
        for name, value in fields.items():
            kinds[name], parts = _pack(value)
            for part, values in parts.items():
                arrays["/".join(filter(None, (str(row), name, part)))] = values
        described.append({"key": key, "fields": kinds})
    meta = {
        "version": VERSION,
        "stage": output.stage,
        "name": output.name,
        "fingerprint": output.fingerprint,
        "identity": output.identity,
        "failures": output.failures,
        "seconds": output.seconds,
        "cpu_seconds": output.cpu_seconds,
        "statistics": output.statistics,
        "clips": described,
    }
    text = json.dumps(meta, ensure_ascii=False, allow_nan=False).encode()
    arrays = {"meta": np.frombuffer(text, np.uint8), **arrays}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


class StageFile:
    """A stage's output, arrays read as they are asked for. Use as a context manager.

    Args:
        path: see :func:`stage_path`.

    Raises:
        CorruptStoreError: the file is not what :func:`write_stage` wrote.
        FileNotFoundError: there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = np.load(path, allow_pickle=False)
            meta = json.loads(self._archive["meta"].tobytes())
            if meta["version"] != VERSION:
                raise ValueError(f"version {meta['version']!r} in place of {VERSION}")
            self._kinds = {clip["key"]: clip["fields"] for clip in meta["clips"]}
            self._rows = {key: row for row, key in enumerate(self._kinds)}
            self.record = StageRecord(
                stage=meta["stage"],
                name=meta["name"],
                fingerprint=meta["fingerprint"],
                identity=meta["identity"],
                keys=tuple(self._kinds),
                failures=dict(meta["failures"]),
                seconds=meta["seconds"],
                cpu_seconds=meta["cpu_seconds"],
                statistics=meta["statistics"],
                keys_in_store=frozenset(
                    key for key, kinds in self._kinds.items() if kinds.get("frames") == IN_STORE
                ),
            )
        except FileNotFoundError:
            raise
        except _DAMAGED as error:
            raise self._corrupt(error) from error

    def __enter__(self) -> "StageFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def fields(self, key: str, without: Sequence[str] = ()) -> dict[str, Any]:
        """What the stage gave to one clip; frames that lie in the store alone are left out.

        Args:
            key: of the clip.
            without: fields that are not to be read.

        Raises:
            KeyError: the clip failed, or is not in the shard.
            CorruptStoreError: stored bytes were changed.
        """
        row, kinds = self._rows[key], self._kinds[key]
        try:
            return {
                name: self._unpack(f"{row}/{name}", kind)
                for name, kind in kinds.items()
                if kind != IN_STORE and name not in without
            }
        except _DAMAGED as error:
            raise self._corrupt(error) from error

    def field(self, key: str, name: str) -> Any:
        """One of the fields that a stage gave to a clip; see :meth:`fields`."""
        others = [one for one in self._kinds[key] if one != name]
        return self.fields(key, without=others)[name]

    def _unpack(self, prefix: str, kind: Mapping[str, Any]) -> Any:
        if kind["kind"] == "json":
            return kind["value"]
        if kind["kind"] == "array":
            return self._archive[prefix]
        table = _TABLES[kind["kind"]]
        columns = {name: self._archive[f"{prefix}/{name}"] for name in kind["columns"]}
        return table(category=list(kind["category"]), **columns)

    def _corrupt(self, error: Exception) -> CorruptStoreError:
        return CorruptStoreError(
            f"Expected what a stage wrote in {self.path}, but it is damaged ({error}). Remove it "
            "and start the command again: it is made again."
        )


def read_record(path: Path) -> StageRecord | None:
    """What a stage's file says of itself; None if there is none that can be read."""
    try:
        with StageFile(path) as file:
            return file.record
    except (FileNotFoundError, CorruptStoreError):
        return None


def _pack(value: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """How a value is described in the metadata, and the arrays that go with it."""
    if isinstance(value, np.ndarray):
        return {"kind": "array"}, {"": value}
    for kind, table in _TABLES.items():
        if isinstance(value, table):
            names = [one.name for one in dataclasses.fields(table) if one.name != "category"]
            columns = {name: getattr(value, name) for name in names}
            described = {"kind": kind, "category": list(value.category), "columns": names}
            return described, columns
    if value == IN_STORE:
        return dict(IN_STORE), {}
    return {"kind": "json", "value": value}, {}
