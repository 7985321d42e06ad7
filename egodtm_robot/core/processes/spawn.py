"""Starts worker processes that have a fixed number of threads and end with their parent."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from egodtm_robot.core.processes.parent import follow_parent
from egodtm_robot.core.processes.threads import threads_of_children


def spawn(
    target: Callable[..., None], args: tuple[Any, ...] = (), name: str = "worker", threads: int = 1
) -> BaseProcess:
    """Start a worker process.

    The process begins with a fresh interpreter: a forked one would inherit OpenGL contexts and
    threads that it cannot use. It ends when this process ends, however that happens. Ctrl-C does
    not reach it: this process ends its workers itself, in order.

    Args:
        target: a picklable function, the work of the process.
        args: its picklable arguments.
        name: of the process.
        threads: each library in the process may have, where the user's environment does not say
            otherwise (see :data:`~egodtm_robot.core.processes.threads.THREAD_VARIABLES`).
    """
    # Only the main thread is sure to live as long as this process does; see follow_parent.
    by_kernel = threading.current_thread() is threading.main_thread()
    process = multiprocessing.get_context("spawn").Process(
        target=_begin, args=(os.getpid(), by_kernel, target, args), name=name, daemon=True
    )
    with threads_of_children(threads), _interrupts_held_back():
        process.start()
    return process


def how_it_ended(exit_code: int | None) -> str:
    """What an exit code says, in words: ``was killed by SIGKILL`` or ``ended with exit code 1``."""
    if exit_code is not None and exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"


def _begin(
    parent: int, by_kernel: bool, target: Callable[..., None], args: tuple[Any, ...]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    follow_parent(parent, by_kernel)
    target(*args)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start processes with Ctrl-C blocked, or it would interrupt their imports with a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
