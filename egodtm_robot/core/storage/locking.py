"""A lock between processes that a killed holder cannot leave behind."""

import fcntl
import json
import math
import os
import socket
import sys
import time
import weakref
from pathlib import Path
from types import TracebackType

from egodtm_robot.core.errors import StoreLockedError, StoreReadOnlyError

UNTIL_FREE = math.inf
"""A timeout for those that want what the holder is about to write, such as two runs of a benchmark
with the same demonstrations. It ends: a holder that is killed holds nothing."""

_POLL_SECONDS = 0.05
_NOTICE_SECONDS = 1.0
_live_locks: "weakref.WeakSet[FileLock]" = weakref.WeakSet()


class FileLock:
    """Exclusive lock on a file, held by one process until ``release`` or the process's death.

    ``flock`` belongs to the open file, which a forked child shares. Were the child to keep it, a
    killed writer's orphaned workers would hold the store for ever; so children drop theirs.

    Args:
        path: the lock file; its folder is made if missing. The file stays, it is never removed
            (removing it would let two processes lock two files of the same name).
        purpose: what is locked, for the error message.
    """

    def __init__(self, path: Path, purpose: str) -> None:
        self.path = path
        self.purpose = purpose
        self._descriptor: int | None = None
        self._process = -1

    @property
    def held(self) -> bool:
        """Whether this process holds the lock through this object."""
        return self._descriptor is not None and self._process == os.getpid()

    def acquire(self, timeout_s: float) -> None:
        """Wait for the lock; after a second standard error says for whom.

        Args:
            timeout_s: seconds to wait; 0 tries once, UNTIL_FREE never gives up.

        Raises:
            StoreLockedError: someone else still held it after ``timeout_s``; the message says who.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        start = time.monotonic()
        noticed = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = time.monotonic() - start
                remaining = timeout_s - waited
                holder = _read_holder(descriptor)
                if remaining <= 0:
                    os.close(descriptor)
                    raise StoreLockedError(
                        f"Expected to write to {self.purpose} alone, but {holder} has been "
                        f"writing to it for the last {timeout_s:g} s. Wait for it to finish, stop "
                        "it, or choose another path."
                    ) from None
                if waited > _NOTICE_SECONDS and not noticed:
                    notice = f"waiting for {holder}, which is writing to {self.purpose}"
                    print(notice, file=sys.stderr, flush=True)
                    noticed = True
                time.sleep(min(_POLL_SECONDS, remaining))
        holder_text = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder_text, 0)
        self._descriptor = descriptor
        self._process = os.getpid()
        _live_locks.add(self)

    def check_held(self) -> None:
        """Raise StoreReadOnlyError unless this process holds the lock."""
        if not self.held:
            raise StoreReadOnlyError(
                f"Expected {self.purpose} to be open for writing in this process, but it is "
                'closed, was opened with mode="r", or belongs to the parent of this process. '
                'Open it with mode="a" here.'
            )

    def release(self) -> None:
        """Give the lock up; harmless if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        _live_locks.discard(self)

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _read_holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on host {holder['host']}"
    except (ValueError, KeyError, TypeError, OSError):
        # The holder has just taken the lock and not written its name yet.
        return "another process"


def _drop_locks_in_child() -> None:
    for lock in list(_live_locks):
        # Closing leaves the parent's lock alone: only LOCK_UN or the last close would end it.
        lock.release()


os.register_at_fork(after_in_child=_drop_locks_in_child)
