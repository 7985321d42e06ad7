"""Writing the files of a store so that each is whole or absent, and naming a full disk."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from egodtm_robot.core.errors import DiskSpaceError

TEMPORARY_SUFFIX = ".partial"

# fsync waits, and those that wait together share one commit of the file system's journal.
_WRITING_THREADS = 16


def write_files(
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

    def synchronize(position: int) -> None:
        descriptor = os.open(folders[position], os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    try:
        for_each(write, range(len(files)), _WRITING_THREADS)
        for temporary, path in moves:
            os.replace(temporary, path)
    except BaseException:
        for temporary, _ in moves:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        raise
    if durable:
        for_each(synchronize, range(len(folders)), _WRITING_THREADS)


@contextlib.contextmanager
def naming_full_disk(root: Path) -> Iterator[None]:
    """Raise DiskSpaceError in place of the error of a full disk."""
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


def for_each(function: Callable[[int], None], indices: Sequence[int], threads: int) -> None:
    """Call a function with each index, in threads where there are more than a few."""
    if len(indices) < 4:
        for index in indices:
            function(index)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(function, indices):
            pass
