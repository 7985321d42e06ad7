"""Workers on a Ray cluster: actors in groups, each with the cores and GPUs that suit its work.

Only tasks and short answers should pass through Ray. What is large goes through files in a folder
that every node sees under the same path, and is complete there before a worker answers: whatever
dies, actor, node or the main process, nothing that was answered for is lost.
"""

import logging
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from egodtm_robot.core.errors import (
    ClusterError,
    ConfigurationError,
    ExecutorClosedError,
    MissingPackageError,
    UnknownNameError,
)
from egodtm_robot.core.processes.executor import (
    Answer,
    Death,
    Executor,
    Outcome,
    Raised,
    Task,
    TaskServer,
    WorkerFactory,
    read_outcome,
)
from egodtm_robot.core.processes.runner import Runner, WorkerGroup
from egodtm_robot.core.processes.threads import limit_threads


@dataclass
class Resources:
    """What the workers of a group are given."""

    workers: int = 1
    """Actors that do nothing but the work of this group."""

    cpus: float = 1.0
    """Cores of each; also its threads, at least one."""

    gpus: float = 0.0
    """GPUs of each, 0.5 for two on one; asked for only where the cluster has any."""


@dataclass
class RayRunner(Runner):
    """Actors on a Ray cluster, in groups: ``runner=ray``."""

    address: str | None = None
    """``auto`` or the address of a cluster; null starts one on this machine for the length of the
    command."""

    object_store_mb: int = 100
    """Shared memory, megabytes, for a Ray that is started on this machine. Large data do not pass
    through it, so little is needed; Ray takes no less than 75."""

    groups: dict[str, Any] = field(default_factory=dict)
    """Workers, cores and GPUs of each group, one worker with one core by default; a command takes
    the groups that it has. See :class:`Resources`."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            MissingPackageError: Ray is not installed.
            UnknownNameError: no such option of a group.
            ConfigurationError: a number is out of range.
        """
        super().__post_init__()
        for name in self.groups:
            resources = self.resources(name)
            if resources.workers < 1 or resources.cpus < 0 or resources.gpus < 0:
                raise ConfigurationError(
                    f"Expected runner.groups.{name} to have workers of at least 1 and cpus and "
                    f"gpus of at least 0, got {resources}."
                )
        if self.object_store_mb < 75:
            raise ConfigurationError(
                f"Expected runner.object_store_mb of at least 75, got {self.object_store_mb}."
            )
        if find_spec("ray") is None:
            raise MissingPackageError(
                "Expected the package ray for runner=ray, but it is not installed. Install it with "
                "pip install 'egodtm-robot[cluster]', or take runner=local."
            )

    def resources(self, group: str) -> Resources:
        """What the workers of a group are given."""
        given: Mapping[str, Any] = self.groups.get(group) or {}
        known = tuple(Resources.__dataclass_fields__)
        for name in given:
            if name not in known:
                raise UnknownNameError(f"option of runner.groups.{group}", name, known)
        return Resources(**given)

    def worker_count(self, groups: Sequence[WorkerGroup]) -> int:
        """See :class:`~egodtm_robot.core.processes.runner.Runner`."""
        return sum(self.resources(group.name).workers for group in groups)

    def start(
        self, factory: WorkerFactory[Task, Answer], groups: Sequence[WorkerGroup]
    ) -> Executor[Task, Answer]:
        """See :class:`~egodtm_robot.core.processes.runner.Runner`."""
        return RayExecutor(self, factory, groups)


class RayExecutor(Executor[Task, Answer]):
    """Actors, a group for each kind of work.

    Args:
        config: the cluster, and what each group is given.
        factory: makes the worker in each actor.
        groups: that are asked for.

    Raises:
        ClusterError: the cluster cannot be reached.
    """

    def __init__(
        self,
        config: RayRunner,
        factory: WorkerFactory[Task, Answer],
        groups: Sequence[WorkerGroup],
    ) -> None:
        self.kinds: list[frozenset[str]] = []
        wanted: list[Resources] = []
        for group in groups:
            resources = config.resources(group.name)
            wanted += [resources] * resources.workers
            self.kinds += [group.kinds] * resources.workers
        # Nothing is sent anywhere by a user's work.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray = ray
        self._closed = False
        self._pending: dict[Any, int] = {}
        self._actors: list[Any] = []
        self._started_here = not ray.is_initialized()
        cpus = sum(one.cpus for one in wanted)
        if self._started_here:
            _start_ray(config, cpus)
        try:
            there = ray.cluster_resources()
            if there.get("CPU", 0) < cpus:
                print(
                    f"ray: {cpus:g} cores are asked for and {there.get('CPU', 0):g} are there; "
                    "some workers wait until there are more",
                    file=sys.stderr,
                    flush=True,
                )
            has_gpu = there.get("GPU", 0) > 0
            self._options = [
                {"num_cpus": one.cpus, "num_gpus": one.gpus if has_gpu else 0} for one in wanted
            ]
            self._threads = [max(1, int(one.cpus)) for one in wanted]
            self._factory = ray.put(factory)
            for worker in range(len(wanted)):
                self._actors.append(self._start(worker))
        except BaseException:
            self.close()
            raise

    def submit(self, worker: int, task: Task) -> None:
        """See :class:`~egodtm_robot.core.processes.executor.Executor`."""
        self._pending[self._actors[worker].do.remote(task)] = worker

    def wait(self) -> list[tuple[int, Outcome[Answer]]]:
        """See :class:`~egodtm_robot.core.processes.executor.Executor`."""
        if not self._pending:
            return []
        ready, _ = self._ray.wait(list(self._pending), num_returns=1)
        outcomes: list[tuple[int, Outcome[Answer]]] = []
        for reference in ready:
            worker = self._pending.pop(reference)
            outcomes.append((worker, self._outcome(worker, reference)))
        return outcomes

    def close(self) -> None:
        """See :class:`~egodtm_robot.core.processes.executor.Executor`."""
        if self._closed:
            return
        self._closed = True
        for actor in self._actors:
            self._ray.kill(actor)
        if self._started_here:
            self._ray.shutdown()

    def _outcome(self, worker: int, reference: Any) -> Outcome[Answer]:
        errors = self._ray.exceptions
        try:
            return read_outcome(self._ray.get(reference))
        except (
            errors.ActorDiedError,
            errors.ActorUnavailableError,
            errors.RayActorError,
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
        ) as error:
            if self._closed:
                raise ExecutorClosedError(
                    "Expected workers to be waited for before they are closed."
                ) from None
            # The process, its node or its memory: the next actor may be on another machine.
            self._actors[worker] = self._start(worker)
            return Death(" ".join(str(error).split())[:200])
        except errors.RayError as error:
            return Raised(ClusterError(f"Ray could not run a task: {error}"))

    def _start(self, worker: int) -> Any:
        actor = self._ray.remote(max_restarts=0)(_Actor).options(**self._options[worker])
        return actor.remote(self._factory, os.getcwd(), self._threads[worker])


class _Actor:
    """A worker in a process of Ray's.

    Args:
        factory: makes the worker.
        folder: that relative paths start from, as in the main process.
        threads: that libraries may have.
    """

    def __init__(self, factory: WorkerFactory[Any, Any], folder: str, threads: int) -> None:
        limit_threads(threads)
        self._server = TaskServer(lambda: _make_in(folder, factory))

    def do(self, task: Any) -> bytes:
        return self._server.do_elsewhere(task)


def _make_in(folder: str, factory: WorkerFactory[Any, Any]) -> Any:
    try:
        os.chdir(folder)
    except OSError as error:
        raise ClusterError(
            f"Expected every node of the cluster to see the folder {folder}, in which the command "
            f"was started, but {os.uname().nodename} does not ({error.strerror}). Start the "
            "command in a folder on a disk that all nodes share."
        ) from error
    return factory()


def _start_ray(config: RayRunner, cpus: float) -> None:
    import ray

    try:
        if config.address is None:
            # Actors that share the cores of a laptop are slow; those that wait for ever are worse.
            ray.init(
                num_cpus=max(os.cpu_count() or 1, math.ceil(cpus)),
                object_store_memory=config.object_store_mb * 2**20,
                include_dashboard=False,
                logging_level=logging.WARNING,
            )
        else:
            ray.init(address=config.address, logging_level=logging.WARNING)
    except Exception as error:  # a start that times out is nothing more special than that
        raise ClusterError(
            f"Expected a Ray cluster at {config.address or 'this machine'}, but it could not be "
            f"reached: {error}. Start one with `ray start --head`, or take runner=local."
        ) from error
