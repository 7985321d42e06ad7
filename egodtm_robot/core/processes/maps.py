"""Calls a function in worker processes and hands back its results."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar

from egodtm_robot.core.processes.dispatch import RETRIES, run_tasks
from egodtm_robot.core.processes.executor import Executor
from egodtm_robot.core.processes.local import start_local

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Argument], Result],
    arguments: Iterable[Argument],
    workers: int,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
    ahead: int = 4,
    retries: int = RETRIES,
) -> Generator[Result, None, None]:
    """Like ``map``, over ``workers`` processes, never more than a few results ahead.

    The caller may stop at any time: what is still under way is then ended. Results come in the
    arguments' order whatever the number of workers, so what is built from them is the same. A call
    whose worker died is made again by another worker.

    Args:
        function: a picklable function of one argument, run in the workers.
        arguments: its arguments; may be endless, they are drawn as needed, in another thread.
        workers: number of processes, each with one thread; 0 runs everything in this process.
        initializer: called once a process before the first call, with ``initargs``.
        initargs: its arguments.
        ahead: how many calls a worker may be ahead of what was consumed.
        retries: workers that may die at one call.

    Raises:
        WorkerDiedError: more than ``retries`` worker processes died at one call.
        ConfigurationError: a negative number of workers.
    """
    worker = partial(_worker, function, initializer, initargs)
    if workers == 0:
        call = worker()
        yield from (call((0, argument)) for argument in arguments)
        return
    held: dict[int, Result] = {}
    following = 0
    with _Calls(start_local(worker, workers), arguments, workers * ahead, retries) as calls:
        for index, _, result in calls:
            held[index] = result
            while following in held:
                calls.consume()
                yield held.pop(following)
                following += 1


def unordered_map(
    function: Callable[[Argument], Result],
    arguments: Iterable[Argument],
    workers: int,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
    ahead: int = 4,
    retries: int = RETRIES,
) -> Generator[tuple[Argument, Result], None, None]:
    """As :func:`ordered_map`, but each argument comes with its result as soon as that is there."""
    worker = partial(_worker, function, initializer, initargs)
    if workers == 0:
        call = worker()
        yield from ((argument, call((0, argument))) for argument in arguments)
        return
    with _Calls(start_local(worker, workers), arguments, workers * ahead, retries) as calls:
        for _, argument, result in calls:
            calls.consume()
            yield argument, result


def _worker(
    function: Callable[[Argument], Result],
    initializer: Callable[..., None] | None,
    initargs: tuple[Any, ...],
) -> Callable[[tuple[int, Argument]], Result]:
    if initializer is not None:
        initializer(*initargs)
    return lambda numbered: function(numbered[1])


class _Calls(Generic[Argument, Result]):
    """Calls under way, kept going by a thread while the caller is busy with their results."""

    def __init__(
        self,
        executor: Executor[tuple[int, Argument], Result],
        arguments: Iterable[Argument],
        ahead: int,
        retries: int,
    ) -> None:
        self._executor = executor
        self._arguments = enumerate(arguments)
        self._slots = threading.Semaphore(ahead)
        self._retries = retries
        self._stopped = False
        self._exhausted = False
        self._waiting: deque[tuple[int, Argument]] = deque()
        self._results: queue.SimpleQueue[tuple[int, Argument, Result] | BaseException | None]
        self._results = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True, name="map")
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[int, Argument, Result]]:
        """Numbers, arguments and results of the calls, as they are done."""
        while (result := self._results.get()) is not None:
            if isinstance(result, BaseException):
                raise result
            yield result

    def consume(self) -> None:
        """Say that one more result was consumed, so that one more argument may be drawn."""
        self._slots.release()

    def __enter__(self) -> "_Calls[Argument, Result]":
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._slots.release()
        self._executor.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._draw(block=True):
                for (index, argument), result in run_tasks(
                    self._executor, self._waiting, self._retries
                ):
                    self._results.put((index, argument, result))
                    self._draw(block=False)
            self._results.put(None)
        except BaseException as error:
            self._results.put(error)

    def _draw(self, block: bool) -> bool:
        """Draw all arguments that may be drawn now; whether any is waiting.

        Args:
            block: whether to wait until one may be drawn.
        """
        while not (self._exhausted or self._stopped) and self._slots.acquire(blocking=block):
            block = False
            drawn = None if self._stopped else next(self._arguments, None)
            if drawn is None:
                self._exhausted = True
            else:
                self._waiting.append(drawn)
        return bool(self._waiting)
