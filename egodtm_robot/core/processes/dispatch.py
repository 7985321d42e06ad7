"""Gives tasks to the workers of an executor until there are none, whatever workers die."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic

from egodtm_robot.core.errors import WorkerDiedError
from egodtm_robot.core.processes.executor import Answer, Death, Executor, Raised, Task

RETRIES = 2
"""Workers that may die at one task by default before it is given up."""


def run_tasks(
    executor: Executor[Task, Answer],
    waiting: deque[Task],
    retries: int = RETRIES,
    describe: Callable[[Task], str] = lambda task: "a task",
    on_begun: Callable[[Task], None] = lambda task: None,
) -> Iterator[tuple[Task, Answer]]:
    """Have the workers do tasks, in the order in which they wait.

    A task whose worker died is done again by another worker, before those that wait.

    Args:
        executor: the workers; every one may do every task. It is left open.
        waiting: the tasks. Whoever takes an answer may add further ones.
        retries: workers that may die at one task; with one more the task is given up.
        describe: names a task in the error message.
        on_begun: called with a task whenever a worker gets it, again after each death.

    Yields:
        Each task with its answer, as soon as it is there.

    Raises:
        WorkerDiedError: more than ``retries`` workers died at one task.
        Exception: what a task raised.
    """
    again: deque[_Attempt[Task]] = deque()
    busy: dict[int, _Attempt[Task]] = {}
    while True:
        for worker in range(len(executor.kinds)):
            if worker in busy or not (again or waiting):
                continue
            busy[worker] = again.popleft() if again else _Attempt(waiting.popleft())
            on_begun(busy[worker].task)
            executor.submit(worker, busy[worker].task)
        if not busy:
            return
        for worker, outcome in executor.wait():
            attempt = busy.pop(worker)
            if isinstance(outcome, Raised):
                raise outcome.error
            if isinstance(outcome, Death):
                attempt.deaths += 1
                if attempt.deaths > retries:
                    raise WorkerDiedError(describe(attempt.task), attempt.deaths, outcome.reason)
                again.append(attempt)
            else:
                yield attempt.task, outcome.answer


@dataclass
class _Attempt(Generic[Task]):
    """A task, and how many workers have died at it."""

    task: Task
    deaths: int = 0
