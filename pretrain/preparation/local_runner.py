"""Workers on this machine: processes, or this process itself."""

import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection, wait
from typing import Any

from pretrain.preparation.pool import Answer, Death, Task, do
from pretrain.preparation.work import WORK_STAGES, WorkContext, Worker


class InlinePool:
    """One worker, in this process."""

    def __init__(self, context: WorkContext) -> None:
        self.stages: list[frozenset[str]] = [frozenset(WORK_STAGES)]
        self._worker = Worker(context)
        self._answers: list[tuple[int, Answer]] = []

    def submit(self, worker: int, task: Task) -> None:
        """See :class:`~pretrain.preparation.pool.Pool`."""
        self._answers.append((worker, do(self._worker, task)))

    def wait(self) -> list[tuple[int, Answer]]:
        """See :class:`~pretrain.preparation.pool.Pool`."""
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        """See :class:`~pretrain.preparation.pool.Pool`."""


class LocalPool:
    """Worker processes that end with this one, and are replaced when they die.

    Args:
        context: what all jobs share.
        workers: number of processes, from 1.
    """

    def __init__(self, context: WorkContext, workers: int) -> None:
        self.stages: list[frozenset[str]] = [frozenset(WORK_STAGES)] * workers
        # spawn: a forked child would inherit threads and libraries' state that it cannot use.
        self._spawning = multiprocessing.get_context("spawn")
        self._context = context
        self._threads = str(max(1, (os.cpu_count() or 1) // workers))
        self._processes: list[Any] = []
        self._pipes: list[Connection] = []
        self._busy: set[int] = set()
        try:
            for _ in range(workers):
                process, pipe = self._start()
                self._processes.append(process)
                self._pipes.append(pipe)
        except BaseException:
            self.close()
            raise

    def submit(self, worker: int, task: Task) -> None:
        """See :class:`~pretrain.preparation.pool.Pool`."""
        self._busy.add(worker)
        with contextlib.suppress(OSError):  # it has died: wait() will find that out
            self._pipes[worker].send(task)

    def wait(self) -> list[tuple[int, Answer]]:
        """See :class:`~pretrain.preparation.pool.Pool`."""
        ready = set(wait([self._pipes[worker] for worker in self._busy]))
        answers: list[tuple[int, Answer]] = []
        for worker in sorted(self._busy):
            # The end of a pipe is ready as well when the process at its other end has died.
            if self._pipes[worker] in ready:
                answers.append((worker, self._answer(worker)))
        self._busy -= {worker for worker, _ in answers}
        return answers

    def close(self) -> None:
        """See :class:`~pretrain.preparation.pool.Pool`."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()

    def _answer(self, worker: int) -> Answer:
        try:
            answer: Answer = self._pipes[worker].recv()
            return answer
        except (EOFError, OSError):
            process = self._processes[worker]
            process.join()
            self._pipes[worker].close()
            self._processes[worker], self._pipes[worker] = self._start()
            return Death(_how(process.exitcode))

    def _start(self) -> tuple[Any, Connection]:
        ours, theirs = self._spawning.Pipe()
        process = self._spawning.Process(
            target=_serve, args=(theirs, self._context), daemon=True, name="prepare"
        )
        # Read by libraries when they are loaded: as many threads in each worker as there are cores
        # would only wait for one another.
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ.setdefault("OMP_NUM_THREADS", self._threads)
        try:
            process.start()
        finally:
            if before is None:
                del os.environ["OMP_NUM_THREADS"]
        theirs.close()
        return process, ours


def _serve(pipe: Connection, context: WorkContext) -> None:
    """The work of a process: tasks in, answers out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends its workers itself
    threading.Thread(target=_follow_parent, daemon=True).start()
    worker = Worker(context)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(do(worker, pipe.recv()))


def _follow_parent() -> None:
    """Ends this worker with the main process, even in the midst of a job."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"
