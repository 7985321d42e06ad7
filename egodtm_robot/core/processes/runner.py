"""Where work is done: the ``runner`` group of the configuration."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from egodtm_robot.core.configuration.instantiation import check_options, choose
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.processes.executor import Answer, Executor, Task, WorkerFactory

LOCAL_RUNNER = {"_target_": "egodtm_robot.core.processes.local.LocalRunner"}
"""Processes on this machine, with the defaults of their class."""


@dataclass(frozen=True)
class WorkerGroup:
    """Workers that a command asks for.

    Attributes:
        name: of the group in the configuration.
        kinds: of tasks that they do, by default one of the group's name.
    """

    name: str
    kinds: frozenset[str] = field(default=frozenset())

    def __post_init__(self) -> None:
        """A group that names no kinds does the one that bears its name."""
        if not self.kinds:
            object.__setattr__(self, "kinds", frozenset({self.name}))


@dataclass
class Runner(ABC):
    """Where work is done, and by how many workers; a user's own is an import path."""

    retries: int = 3
    """Workers that may die at one task; with one more the command stops and says what at."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a number is out of range.
        """
        if self.retries < 0:
            raise ConfigurationError(f"Expected runner.retries of at least 0, got {self.retries}.")

    @abstractmethod
    def worker_count(self, groups: Sequence[WorkerGroup]) -> int:
        """Workers that :meth:`start` would start."""

    @abstractmethod
    def start(
        self, factory: WorkerFactory[Task, Answer], groups: Sequence[WorkerGroup]
    ) -> Executor[Task, Answer]:
        """Start the workers.

        Args:
            factory: makes the worker in each process.
            groups: that the command asks for. A runner on one machine may give the kinds of all
                groups to all workers.

        Raises:
            MissingPackageError: the package that the runner needs is not installed.
            ClusterError: the cluster cannot be reached.
        """


def make_runner(config: str | Mapping[str, Any]) -> Runner:
    """The runner that the ``runner`` group names.

    Args:
        config: a name that has a file in ``configs/runner``, the import path of a :class:`Runner`
            class, or a mapping with ``_target_`` (such a path) and the options of the class.

    Raises:
        UnknownNameError: no such file, or no such option.
        ConfigurationError: the import path leads nowhere or to no runner, or a value does not fit.
        MissingPackageError: a package that the runner needs is not installed.
    """
    choice = choose("runner", config, base=Runner)
    check_options("runner", choice.target, choice.options)
    try:
        runner: Runner = choice.target(**choice.options)
    except TypeError as error:
        raise ConfigurationError(f"A value of runner.* has the wrong type: {error}.") from error
    return runner
