"""Fills a store from a data set of another toolkit."""

import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from egodtm_robot.core.errors import (
    InvalidEpisodeError,
    ResumeMismatchError,
    StoreNotFoundError,
)
from egodtm_robot.core.processes.maps import ordered_map
from egodtm_robot.core.storage import check_free_space
from egodtm_robot.core.storage.locking import UNTIL_FREE
from egodtm_robot.demos.attributes import DemonstrationAttributes
from egodtm_robot.demos.convert.contract import (
    ConversionError,
    DemonstrationFormat,
    DemonstrationSource,
)
from egodtm_robot.demos.convert.damage import reading
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
    with (
        closing(_open_source(format, source)) as opened,
        _open_store(out, opened.attributes) as store,
    ):
        first, total = store.num_episodes, len(opened.lengths)
        size = estimate_bytes(sum(opened.lengths[first:]), opened.rows)
        check_free_space(out, size)
        if announce is not None and first < total:
            announce(size)
        report = progress(total) if progress is not None else None
        if report is not None:
            report(first)
        numbers = range(first, total)
        read: Generator[Episode, None, None]
        if opened.whole or workers == 0:
            read = (_episode(opened, source, number) for number in numbers)
        else:
            read = ordered_map(_read, numbers, workers, _start, (format, source))
        with closing(read) as episodes:
            for episode in episodes:
                _append(store, episode, source)
                if report is not None:
                    report(store.num_episodes)
    return DemonstrationStore.open(out)


def _open_source(format: DemonstrationFormat, path: Path) -> DemonstrationSource:
    with reading(f"the data set {path}"):
        opened = format.open(path)
        empty = [number for number, steps in enumerate(opened.lengths) if steps < 1]
        if empty:
            raise ConversionError(
                f"Expected at least one step in each episode of {path}, got none in episode "
                f"{empty[0]}. Remove it from the data set."
            )
        _ = opened.attributes, opened.rows  # damage shows before anything is written
    return opened


def _episode(opened: DemonstrationSource, path: Path, number: int) -> Episode:
    with reading(f"episode {number} of {path}"):
        return opened.read(number)


def _append(store: DemonstrationStore, episode: Episode, source: Path) -> None:
    number = store.num_episodes
    try:
        store.append_episode(episode)
    except InvalidEpisodeError as error:
        reason = error.__cause__ or error  # what is behind it knows no seed, nor does the user
        raise ConversionError(
            f"Expected episode {number} of {source} to be like those before it and whole. {reason} "
            "Repair the episode in the data set, or remove it there."
        ) from error


@contextmanager
def _open_store(out: Path, wanted: DemonstrationAttributes) -> Iterator[DemonstrationStore]:
    """The store to be filled. One that was made for it and got nothing is removed again."""
    store, made = _find_store(out, wanted)
    try:
        with store:
            yield store
    except Exception:
        if made and DemonstrationStore.open(out).num_episodes == 0:
            shutil.rmtree(out)
        raise


def _find_store(out: Path, wanted: DemonstrationAttributes) -> tuple[DemonstrationStore, bool]:
    """The store there, or a new one, and whether it is new."""
    try:
        store = DemonstrationStore.open(out, "a", timeout_s=UNTIL_FREE)
    except StoreNotFoundError:
        return DemonstrationStore.create(out, wanted, timeout_s=UNTIL_FREE), True
    if store.attributes != wanted:
        store.close()
        raise ResumeMismatchError(
            f"Expected {out} to hold the beginning of this very data set, but the store there was "
            f"made of {store.attributes.environment} with other settings or other metadata. Choose "
            "another folder with out=..., or remove that one."
        )
    return store, False


# A worker process keeps its data set open between calls.
_worker: dict[str, Any] = {}


def _start(format: DemonstrationFormat, source: Path) -> None:
    _worker.update(opened=_open_source(format, source), source=source)


def _read(index: int) -> Episode:
    return _episode(_worker["opened"], _worker["source"], index)
