"""What runners share: workers that do one thing at a time, and what may become of it."""

import traceback
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from egodtm_robot.core.errors import DiskSpaceError, EgoDTMRobotError
from pretrain.preparation.work import AnnotatorCard, Done, Job


class WorkerDiedError(EgoDTMRobotError, RuntimeError):
    """Workers died again and again on the same work, killed by a signal or out of memory."""


class PreparationError(EgoDTMRobotError, RuntimeError):
    """A worker met something that the rest of the run would meet as well."""


@dataclass(frozen=True)
class Task:
    """What a worker is asked for: a job, or a stage to describe the annotator of."""

    kind: Literal["run", "describe"]
    argument: Job | str


@dataclass(frozen=True)
class Refusal:
    """Why a task could not be done; it would not help to try it again.

    Attributes:
        error: an error whose message says what to do.
    """

    error: EgoDTMRobotError


@dataclass(frozen=True)
class Death:
    """A worker died before it answered; another one has taken its place.

    Attributes:
        reason: what is known of it.
    """

    reason: str


Answer = AnnotatorCard | Done | Refusal | Death


class Pool(Protocol):
    """Workers, numbered from 0; each has at most one task at a time.

    Attributes:
        stages: what each worker may be asked for.
    """

    stages: list[frozenset[str]]

    def submit(self, worker: int, task: Task) -> None:
        """Give a task to a worker that has none."""
        ...

    def wait(self) -> list[tuple[int, Answer]]:
        """Wait until at least one worker has answered or died."""
        ...

    def close(self) -> None:
        """End the workers, whatever they are at."""
        ...


def do(worker: Any, task: Task) -> Answer:
    """Have a :class:`~pretrain.preparation.work.Worker` do a task, in the process of the worker."""
    try:
        if isinstance(task.argument, Job):
            done: Done = worker.run(task.argument)
            return done
        card: AnnotatorCard = worker.describe(task.argument)
        return card
    except EgoDTMRobotError as error:
        return Refusal(portable(error))
    except Exception as error:
        about = task.argument.stage if isinstance(task.argument, Job) else task.argument
        text = f"{about} stopped with {type(error).__name__}: {error}"
        traceback.print_exception(error)
        return Refusal(PreparationError(text))


def portable(error: EgoDTMRobotError) -> EgoDTMRobotError:
    """The error without what cannot be sent between processes, such as arguments of its own."""
    if isinstance(error, DiskSpaceError):
        return DiskSpaceError(error.errno, error.strerror)
    return PreparationError(f"{type(error).__name__}: {error}")
