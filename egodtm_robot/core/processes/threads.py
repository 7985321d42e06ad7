"""How many threads a process may have, for the libraries that read it when they are loaded."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",  # torch, and most builds of BLAS
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "LP_NUM_THREADS",  # Mesa's software renderer
)
"""Environment variables that libraries read their number of threads from."""

WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
"""How the threads of OpenMP wait for one another: asleep. Awake, which is GNU's default, they keep
a core busy that another process needs, and a run beside other work takes ten times as long."""

_environment_lock = threading.Lock()


def available_cores() -> int:
    """Cores that this process may use, which a job scheduler may have limited."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_of_cores(workers: int) -> int:
    """Threads a worker, so that all workers together have about one thread a core."""
    return max(1, available_cores() // max(1, workers))


def thread_share() -> int:
    """Threads that this process was given when it was started, by default all cores."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(given) if given.isdigit() and int(given) > 0 else available_cores()


def thread_settings(threads: int) -> dict[str, str]:
    """Environment variables of a process whose libraries may have so many threads each."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads)) | WAITING


def limit_threads(threads: int) -> None:
    """Set what is not set of :func:`thread_settings`; later imports and processes read it."""
    for name, value in thread_settings(threads).items():
        os.environ.setdefault(name, value)


@contextmanager
def threads_of_children(threads: int) -> Iterator[None]:
    """Limit the threads of the processes that are started in the block, and not this one's.

    What the user has set is left alone. The variables have to be there when a process begins: its
    libraries are loaded with the main module, before any code of ours runs in it.
    """
    with _environment_lock:
        unset = [name for name in thread_settings(threads) if name not in os.environ]
        limit_threads(threads)
        try:
            yield
        finally:
            for name in unset:
                del os.environ[name]
