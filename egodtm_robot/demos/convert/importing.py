"""Fills a store from a data set of another toolkit."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from egodtm_robot.core.errors import ResumeMismatchError, StoreNotFoundError
from egodtm_robot.core.processes.maps import ordered_map
from egodtm_robot.core.storage import check_free_space
from egodtm_robot.core.storage.locking import UNTIL_FREE
from egodtm_robot.demos.attributes import DemonstrationAttributes
from egodtm_robot.demos.convert.contract import DemonstrationFormat
from egodtm_robot.demos.episode import Episode
from egodtm_robot.demos.store import DemonstrationStore, estimate_bytes


def import_demonstrations(
    format: DemonstrationFormat,
    source: Path,
    out: Path,
    workers: int = 2,
    progress: Callable[[int], Callable[[int], None]] | None = None,
    announce: Callable[[int], None] | None = None,
) -> DemonstrationStore:
    """Reads a whole data set into a store; goes on where it was interrupted.

    Episodes are committed one after another in the data set's order, so the store's bytes are the
    same whatever the number of workers, and however often it was interrupted.

    Args:
        format: of the data set.
        source: where it lies.
        out: folder of the store; made if absent.
        workers: processes that read and decode; 0 does it in this one.
        progress: given the number of episodes returns a function to call with those done.
        announce: called with the bytes that are estimated, before anything is written.

    Returns:
        The store, open for reading.

    Raises:
        ConversionError: the data set is damaged or of another kind.
        ResumeMismatchError: the store there holds something else.
        DiskSpaceError: the disk has no room for the estimate.
    """
    opened = format.open(source)
    with _open_store(out, opened.attributes) as store:
        first, total = store.num_episodes, len(opened.lengths)
        size = estimate_bytes(sum(opened.lengths[first:]), opened.rows)
        check_free_space(out, size)
        if announce is not None and first < total:
            announce(size)
        report = progress(total) if progress is not None else None
        if report is not None:
            report(first)
        with closing(
            ordered_map(_read, range(first, total), workers, _start, (format, source))
        ) as episodes:
            for episode in episodes:
                store.append_episode(episode)
                if report is not None:
                    report(store.num_episodes)
    return DemonstrationStore.open(out)


def _open_store(out: Path, wanted: DemonstrationAttributes) -> DemonstrationStore:
    try:
        store = DemonstrationStore.open(out, "a", timeout_s=UNTIL_FREE)
    except StoreNotFoundError:
        return DemonstrationStore.create(out, wanted, timeout_s=UNTIL_FREE)
    if store.attributes != wanted:
        store.close()
        raise ResumeMismatchError(
            f"Expected {out} to hold the beginning of this very data set, but the store there was "
            f"made of {store.attributes.environment} with other settings or other metadata. Choose "
            "another folder with out=..., or remove that one."
        )
    return store


# A worker process keeps its data set open between calls.
_worker: dict[str, Any] = {}


def _start(format: DemonstrationFormat, source: Path) -> None:
    _worker["source"] = format.open(source)


def _read(index: int) -> Episode:
    episode: Episode = _worker["source"].read(index)
    return episode
