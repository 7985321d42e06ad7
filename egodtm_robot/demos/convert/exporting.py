"""Makes a data set of another toolkit of a store."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from egodtm_robot.core.errors import DatasetError, ResumeMismatchError, StoreExistsError
from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.core.processes.maps import unordered_map
from egodtm_robot.core.storage import check_free_space
from egodtm_robot.core.storage.atomic_files import sync_folder, write_atomically
from egodtm_robot.core.storage.locking import FileLock
from egodtm_robot.demos.convert.contract import DemonstrationFormat, Part
from egodtm_robot.demos.store import DemonstrationStore

_FACTS = "facts.json"
_IDENTITY = "identity.txt"
_LOCK = "writer.lock"


def export_demonstrations(
    format: DemonstrationFormat,
    source: Path,
    out: Path,
    workers: int = 2,
    progress: Callable[[int], Callable[[int], None]] | None = None,
    announce: Callable[[int], None] | None = None,
) -> str:
    """Writes a whole store in a format; goes on where it was interrupted.

    Each episode is written as a part below ``<out>.partial``, by any worker in any order. When all
    are there they are put together, and only then something lies at ``out``. The same store gives
    the same bytes, whatever the number of workers, and however often it was interrupted.

    Args:
        format: to write.
        source: folder of the store.
        out: where the data set is to lie; nothing may be there.
        workers: processes that write parts; 0 does it in this one.
        progress: given the number of episodes returns a function to call with those done.
        announce: called with the bytes that are estimated, before anything is written.

    Returns:
        What is to be known of the data set, such as what a codec has lost.

    Raises:
        ConversionError: the store cannot be written in this format.
        DatasetError: the store is empty.
        StoreExistsError: something lies at ``out``.
        StoreLockedError: another process writes the same data set.
        ResumeMismatchError: the parts there are of another store or of other settings.
        DiskSpaceError: the disk has no room for the estimate.
    """
    store = DemonstrationStore.open(source)
    if store.num_episodes == 0:
        raise DatasetError(f"Expected demonstrations in {source}, it holds none.")
    format.check_store(store)
    partial = out.with_name(f"{out.name}.partial")
    identity = _identity(format, store)
    if out.exists() and not _is_of(partial, identity):
        raise StoreExistsError(
            f"Expected a free path for the data set, but {out} is there. Remove it, or choose "
            "another with out=..."
        )
    _claim(partial, identity)
    lock = FileLock(partial / _LOCK, str(out))
    lock.acquire(0)
    try:
        if not out.exists():  # else only the parts are left to be removed
            _write_parts(format, store, source, partial, workers, progress, announce)
        parts = [_part(partial, index) for index in range(store.num_episodes)]
        if not out.exists():
            merged = partial / "merged"
            # What an interrupted merge has left is not worth going on with: parts are only copied.
            _remove(merged)
            format.merge(store, parts, merged)
            os.replace(merged, out)
            sync_folder(out.parent)
        summary = format.summary(parts)
        shutil.rmtree(partial)
    finally:
        lock.release()
    return summary


def _write_parts(
    format: DemonstrationFormat,
    store: DemonstrationStore,
    source: Path,
    partial: Path,
    workers: int,
    progress: Callable[[int], Callable[[int], None]] | None,
    announce: Callable[[int], None] | None,
) -> None:
    """Write the parts that are missing."""
    missing = [i for i in range(store.num_episodes) if not (_folder(partial, i)).is_dir()]
    size = format.estimate_bytes(store) * len(missing) // store.num_episodes
    check_free_space(partial, size)
    if announce is not None and missing:
        announce(size)
    report = progress(store.num_episodes) if progress is not None else None
    done = store.num_episodes - len(missing)
    if report is not None:
        report(done)
    for _ in unordered_map(_write, missing, workers, _start, (format, source, partial)):
        done += 1
        if report is not None:
            report(done)


def _identity(format: DemonstrationFormat, store: DemonstrationStore) -> str:
    return hash_parts(format.kind, dataclasses.asdict(format), store.fingerprint)


def _is_of(partial: Path, identity: str) -> bool:
    record = partial / _IDENTITY
    return record.is_file() and record.read_text() == identity


def _claim(partial: Path, identity: str) -> None:
    record = partial / _IDENTITY
    if record.is_file():
        if not _is_of(partial, identity):
            raise ResumeMismatchError(
                f"Expected {partial} to hold parts of this very store and these settings, but it "
                "was begun with others. Give those again, or remove it and begin anew."
            )
        return
    if partial.exists() and any(partial.iterdir()):
        raise StoreExistsError(
            f"Expected {partial} to be free for parts of the data set, but something else is "
            "there. Remove it, or choose another path with out=..."
        )
    partial.mkdir(parents=True, exist_ok=True)
    write_atomically(record, identity.encode())


def _folder(partial: Path, index: int) -> Path:
    return partial / f"episode_{index:06d}"


def _part(partial: Path, index: int) -> Part:
    folder = _folder(partial, index)
    return Part(index, folder, json.loads((folder / _FACTS).read_text()))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# A worker process keeps its store open between calls.
_worker: dict[str, Any] = {}


def _start(format: DemonstrationFormat, source: Path, partial: Path) -> None:
    _worker.update(format=format, store=DemonstrationStore.open(source), partial=partial)


def _write(index: int) -> None:
    folder = _folder(_worker["partial"], index)
    begun = folder.with_name(f"{folder.name}.begun")
    _remove(begun)
    begun.mkdir()
    facts = _worker["format"].write_part(_worker["store"], index, begun)
    write_atomically(begun / _FACTS, json.dumps(facts).encode())
    # A part that bears its name is whole, on the disk too.
    for file in begun.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
    os.replace(begun, folder)
    sync_folder(folder.parent)
