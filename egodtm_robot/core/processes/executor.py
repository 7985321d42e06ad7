"""What all kinds of workers have in common: a task in, an outcome out, one at a time."""

import pickle
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")

Worker = Callable[[Task], Answer]
"""What does the tasks of a process, one after the other."""

WorkerFactory = Callable[[], Callable[[Task], Answer]]
"""Makes the worker inside its process, before its first task; picklable."""


@dataclass(frozen=True)
class Finished(Generic[Answer]):
    """A task was done.

    Attributes:
        answer: what the worker returned.
    """

    answer: Answer


@dataclass(frozen=True)
class Raised:
    """A task, or the making of its worker, ended with an exception.

    Attributes:
        error: of its own type, with the traceback of the worker as a note.
    """

    error: Exception


@dataclass(frozen=True)
class Death:
    """A worker died before it answered; another one has taken its place.

    Attributes:
        reason: what is known of it, such as ``was killed by SIGKILL``.
    """

    reason: str


Outcome = Finished[Answer] | Raised | Death


class Executor(ABC, Generic[Task, Answer]):
    """Workers, numbered from 0; each has at most one task at a time.

    A context manager: the workers are ended whatever happens inside.

    Attributes:
        kinds: for each worker, the kinds of tasks that it may be given.
    """

    kinds: list[frozenset[str]]

    @abstractmethod
    def submit(self, worker: int, task: Task) -> None:
        """Give a task to a worker that has none."""

    @abstractmethod
    def wait(self) -> list[tuple[int, Outcome[Answer]]]:
        """Wait until at least one worker that has a task has finished it, or died.

        Returns:
            The workers' numbers and outcomes; nothing where no worker has a task.
        """

    @abstractmethod
    def close(self) -> None:
        """End the workers, whatever they do at the moment; more calls do nothing.

        May be called from another thread than the one that waits, which then gets an error.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class TaskServer(Generic[Task, Answer]):
    """Does the tasks of one worker process; for executors.

    Args:
        factory: makes the worker when the first task comes, so that its errors are outcomes too.
    """

    def __init__(self, factory: WorkerFactory[Task, Answer]) -> None:
        self._factory = factory
        self._worker: Callable[[Task], Answer] | None = None

    def do(self, task: Task) -> Finished[Answer] | Raised:
        """Do a task; whatever it raises is an outcome."""
        try:
            if self._worker is None:
                self._worker = self._factory()
            return Finished(self._worker(task))
        except Exception as error:
            return Raised(error)

    def do_elsewhere(self, task: Task) -> bytes:
        """As :meth:`do`, for a caller in another process: the outcome, pickled."""
        outcome = self.do(task)
        if isinstance(outcome, Finished):
            try:
                return pickle.dumps(outcome, protocol=pickle.HIGHEST_PROTOCOL)
            except Exception as error:
                outcome = Raised(error)
        return pickle.dumps(_PortableError.of(outcome.error))


def read_outcome(data: bytes) -> Finished[Any] | Raised:
    """The outcome that :meth:`TaskServer.do_elsewhere` pickled."""
    outcome: Finished[Any] | _PortableError = pickle.loads(data)
    return outcome if isinstance(outcome, Finished) else Raised(outcome.rebuilt())


@dataclass(frozen=True)
class _PortableError:
    """An exception on its way between processes.

    Exceptions with a constructor of their own cannot be unpickled (theirs would be called with the
    message alone), so they are rebuilt without it.
    """

    kind: type[Exception]
    args: tuple[Any, ...]
    trace: str

    @classmethod
    def of(cls, error: Exception) -> "_PortableError":
        trace = "".join(traceback.format_exception(error)).rstrip()
        try:
            args = pickle.loads(pickle.dumps(error.args))
            pickle.loads(pickle.dumps(type(error)))
            return cls(type(error), args, trace)
        except Exception:
            return cls(RuntimeError, (f"{type(error).__name__}: {error}",), trace)

    def rebuilt(self) -> Exception:
        error = self.kind.__new__(self.kind, *self.args)
        error.args = self.args
        error.add_note(f"Raised in a worker process:\n{self.trace}")
        return error
