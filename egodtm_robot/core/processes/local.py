"""Workers on this machine: processes, or this process itself."""

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from egodtm_robot.core.errors import ConfigurationError, ExecutorClosedError
from egodtm_robot.core.processes.executor import (
    Answer,
    Death,
    Executor,
    Outcome,
    Task,
    TaskServer,
    WorkerFactory,
    read_outcome,
)
from egodtm_robot.core.processes.runner import Runner, WorkerGroup
from egodtm_robot.core.processes.spawn import how_it_ended, spawn
from egodtm_robot.core.processes.threads import share_of_cores

_CLOSING_S = 10.0


class InlineExecutor(Executor[Task, Answer]):
    """One worker, in this process.

    Args:
        factory: makes the worker.
        kinds: of tasks that it may be given.
    """

    def __init__(
        self, factory: WorkerFactory[Task, Answer], kinds: frozenset[str] = frozenset()
    ) -> None:
        self.kinds = [kinds]
        self._server = TaskServer(factory)
        self._outcomes: list[tuple[int, Outcome[Answer]]] = []

    def submit(self, worker: int, task: Task) -> None:
        """Do the task; see :class:`~egodtm_robot.core.processes.executor.Executor`."""
        self._outcomes.append((worker, self._server.do(task)))

    def wait(self) -> list[tuple[int, Outcome[Answer]]]:
        """See :class:`~egodtm_robot.core.processes.executor.Executor`."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def close(self) -> None:
        """See :class:`~egodtm_robot.core.processes.executor.Executor`."""


class LocalExecutor(Executor[Task, Answer]):
    """Worker processes that end with this one, and are replaced when they die.

    Args:
        factory: makes the worker in each process.
        kinds: for each process, the kinds of tasks that it may be given.
        threads: of each process.
        name: of the processes.
    """

    def __init__(
        self,
        factory: WorkerFactory[Task, Answer],
        kinds: Sequence[frozenset[str]],
        threads: int = 1,
        name: str = "worker",
    ) -> None:
        self.kinds = list(kinds)
        self._factory, self._threads, self._name = factory, threads, name
        self._lock = threading.Lock()
        self._closed = False
        self._busy: set[int] = set()
        self._workers: list[tuple[BaseProcess, Connection]] = []
        try:
            for index in range(len(self.kinds)):
                self._workers.append(self._start(index))
        except BaseException:
            self.close()
            raise

    def submit(self, worker: int, task: Task) -> None:
        """See :class:`~egodtm_robot.core.processes.executor.Executor`."""
        self._busy.add(worker)
        with contextlib.suppress(OSError):  # it has died: wait() will find that out
            self._workers[worker][1].send(task)

    def wait(self) -> list[tuple[int, Outcome[Answer]]]:
        """See :class:`~egodtm_robot.core.processes.executor.Executor`."""
        pipes = {self._workers[worker][1]: worker for worker in self._busy}
        # The end of a pipe is ready as well when the process at its other end has died.
        ready = sorted(pipes[pipe] for pipe in wait(list(pipes)))  # type: ignore[index]
        outcomes = [(worker, self._outcome(worker)) for worker in ready]
        self._busy -= set(ready)
        return outcomes

    def close(self) -> None:
        """See :class:`~egodtm_robot.core.processes.executor.Executor`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for process, _ in self._workers:
            process.terminate()
        for process, pipe in self._workers:
            process.join(_CLOSING_S)
            if process.is_alive():
                process.kill()
                process.join()
            pipe.close()

    def _outcome(self, worker: int) -> Outcome[Answer]:
        process, pipe = self._workers[worker]
        try:
            return read_outcome(pipe.recv_bytes())
        except (EOFError, OSError):
            process.join()
            reason = how_it_ended(process.exitcode)
            with self._lock:
                if self._closed:
                    raise ExecutorClosedError(
                        "Expected workers to be waited for before they are closed."
                    ) from None
                pipe.close()
                self._workers[worker] = self._start(worker)
            return Death(reason)

    def _start(self, index: int) -> tuple[BaseProcess, Connection]:
        ours, theirs = Pipe()
        try:
            process = spawn(_serve, (theirs, self._factory), f"{self._name}-{index}", self._threads)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return process, ours


def start_local(
    factory: WorkerFactory[Task, Answer], workers: int, threads: int = 1, name: str = "worker"
) -> Executor[Task, Answer]:
    """Workers on this machine that may all do every task.

    Args:
        factory: makes the worker in each process.
        workers: number of processes; 0 works in this one.
        threads: of each process.
        name: of the processes.

    Raises:
        ConfigurationError: a negative number.
    """
    if workers < 0:
        raise ConfigurationError(
            f"Expected workers of 0 (work in this process) or more, got {workers}."
        )
    if workers == 0:
        return InlineExecutor(factory)
    return LocalExecutor(factory, [frozenset[str]()] * workers, threads, name)


@dataclass
class LocalRunner(Runner):
    """Processes on this machine, each able to do every kind of task: ``runner=local``."""

    workers: int = 2
    """Processes, which share the machine's cores; 0 does everything in the main one."""

    threads: int | None = None
    """Threads of each process; null for an equal share of the cores, at least one. Give it beside
    other work on the machine, such as ``runner.workers=1 runner.threads=1`` for one core."""

    limits: dict[str, int | None] = field(default_factory=dict)
    """How many of the processes may do a kind of task, such as ``{depth: 1}`` where one model fills
    the GPU; null for all of them."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a number is out of range.
        """
        super().__post_init__()
        counts = [count for count in self.limits.values() if count is not None]
        if self.workers < 0 or any(count < 1 for count in counts):
            raise ConfigurationError(
                "Expected runner.workers of at least 0 and runner.limits of at least 1, got "
                f"{self.workers} and {counts}."
            )
        if self.threads is not None and (self.threads < 1 or self.workers == 0):
            raise ConfigurationError(
                "Expected runner.threads of at least 1, with runner.workers of at least 1 (the "
                f"main process has its threads already), got {self.threads} and {self.workers}."
            )

    def worker_count(self, groups: Sequence[WorkerGroup]) -> int:
        """See :class:`~egodtm_robot.core.processes.runner.Runner`."""
        return max(1, self.workers)

    def start(
        self, factory: WorkerFactory[Task, Answer], groups: Sequence[WorkerGroup]
    ) -> Executor[Task, Answer]:
        """See :class:`~egodtm_robot.core.processes.runner.Runner`."""
        every = frozenset(kind for group in groups for kind in group.kinds)
        if self.workers == 0:
            return InlineExecutor(factory, every)
        kinds: list[set[str]] = [set() for _ in range(self.workers)]
        first = 0
        for kind in sorted(every):
            limit = self.limits.get(kind)
            count = self.workers if limit is None else min(limit, self.workers)
            for index in range(first, first + count):
                kinds[index % self.workers].add(kind)
            # Kinds with few workers are given to different ones as far as possible.
            first += count
        threads = share_of_cores(self.workers) if self.threads is None else self.threads
        return LocalExecutor(factory, [frozenset(one) for one in kinds], threads)


def _serve(pipe: Connection, factory: WorkerFactory[Task, Answer]) -> None:
    """The work of a process: tasks in, outcomes out, until the pipe closes."""
    server = TaskServer(factory)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send_bytes(server.do_elsewhere(pipe.recv()))
