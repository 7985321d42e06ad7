"""Runs calls in worker processes and hands back their results in the order of the arguments."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any

from egodtm_robot.core.errors import EgoDTMRobotError


class WorkerDiedError(EgoDTMRobotError, RuntimeError):
    """A worker process ended without an answer, killed by a signal or out of memory."""


def ordered_map(
    function: Callable[[Any], Any],
    arguments: Iterable[Any],
    workers: int,
    initializer: Callable[..., None],
    initargs: tuple[Any, ...] = (),
    ahead: int = 4,
) -> Generator[Any, None, None]:
    """Like ``map``, over ``workers`` processes, never more than a few results ahead.

    The caller may stop at any time: what is still under way is then cancelled. Results arrive in
    the arguments' order whatever the number of workers, so what is built from them is the same.

    Args:
        function: a picklable function of one argument, run in the workers.
        arguments: its arguments; may be endless, they are drawn as needed.
        workers: number of processes; 0 runs everything in this one.
        initializer: called once a process before the first call, with ``initargs``.
        initargs: its arguments.
        ahead: how many calls a worker may be ahead of what was consumed.

    Raises:
        WorkerDiedError: a worker process died.
    """
    if workers == 0:
        initializer(*initargs)
        yield from map(function, arguments)
        return
    # spawn: a forked child would inherit OpenGL contexts and threads that it cannot use.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (initializer, initargs))
    try:
        pending: deque[Future[Any]] = deque()
        for argument in arguments:
            pending.append(pool.submit(function, argument))
            if len(pending) >= workers * ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise WorkerDiedError(
            f"Expected {workers} worker processes to stay alive; one died (killed, or out of "
            "memory). What was committed is safe: run the same command again to go on."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(initializer: Callable[..., None], initargs: tuple[Any, ...]) -> None:
    threading.Thread(target=_follow_parent, daemon=True).start()
    initializer(*initargs)


def _follow_parent() -> None:
    """Ends this worker with the main process: an executor's workers outlive a killed one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
