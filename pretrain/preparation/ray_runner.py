"""Workers on a Ray cluster: actors that each do one stage, with the cores and GPUs that suit it.

Only jobs and short answers pass through Ray. Clips go from stage to stage through the folder of the
store, which every node has to see under the same path, and are complete there before an actor
answers: whatever dies, actor, node or this process, nothing that was answered for is lost.
"""

import logging
import math
import os
from typing import Any

from pretrain.preparation.pool import Answer, Death, PreparationError, Refusal, Task, do
from pretrain.preparation.runner import STAGES_WITH_WORKERS, RunnerConfig
from pretrain.preparation.work import WorkContext, Worker

try:
    # Nothing is sent anywhere by a data set's preparation.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.exceptions import RayActorError, RayError
except ImportError as error:  # pragma: no cover
    raise PreparationError(
        "Expected the package ray for runner=ray, but it is not installed. Install it with "
        "pip install 'egodtm-robot[data]', or take runner=local."
    ) from error


class RayPool:
    """Actors, a group for each stage; those that decode also assemble.

    Args:
        config: the cluster, and what each stage is given.
        context: what all jobs share; its folder must be seen by all nodes.
        stages: that may have to run.

    Raises:
        PreparationError: the cluster cannot be reached.
    """

    def __init__(self, config: RunnerConfig, context: WorkContext, stages: tuple[str, ...]) -> None:
        groups = [stage for stage in STAGES_WITH_WORKERS if stage in stages or stage == "decode"]
        self._started_here = not ray.is_initialized()
        if self._started_here:
            _start_ray(config, sum(_cpus(config, stage) for stage in groups))
        has_gpu = ray.cluster_resources().get("GPU", 0) > 0
        self.stages: list[frozenset[str]] = []
        self._options: list[dict[str, Any]] = []
        for stage in groups:
            resources = config.resources(stage)
            allowed = frozenset({stage, "assemble"} if stage == "decode" else {stage})
            self.stages += [allowed] * resources.workers
            options = {"num_cpus": resources.cpus, "num_gpus": resources.gpus if has_gpu else 0}
            self._options += [options] * resources.workers
        self._context = ray.put(context)
        self._actors = [self._start(worker) for worker in range(len(self.stages))]
        self._pending: dict[Any, int] = {}

    def submit(self, worker: int, task: Task) -> None:
        """See :class:`~pretrain.preparation.pool.Pool`."""
        self._pending[self._actors[worker].do.remote(task)] = worker

    def wait(self) -> list[tuple[int, Answer]]:
        """See :class:`~pretrain.preparation.pool.Pool`."""
        if not self._pending:
            return []
        ready, _ = ray.wait(list(self._pending), num_returns=1)
        answers: list[tuple[int, Answer]] = []
        for reference in ready:
            worker = self._pending.pop(reference)
            answers.append((worker, self._answer(worker, reference)))
        return answers

    def close(self) -> None:
        """See :class:`~pretrain.preparation.pool.Pool`."""
        for actor in self._actors:
            ray.kill(actor)
        if self._started_here:
            ray.shutdown()

    def _answer(self, worker: int, reference: Any) -> Answer:
        try:
            answer: Answer = ray.get(reference)
            return answer
        except RayActorError as error:
            # The process, its node or its memory: the next actor may be on another machine.
            self._actors[worker] = self._start(worker)
            return Death(" ".join(str(error).split())[:200])
        except RayError as error:
            return Refusal(PreparationError(f"Ray could not run a job: {error}"))

    def _start(self, worker: int) -> Any:
        actor = ray.remote(max_restarts=0)(_Actor).options(**self._options[worker])
        return actor.remote(self._context)


class _Actor:
    """A worker in a process of Ray's."""

    def __init__(self, context: WorkContext) -> None:
        self._worker = Worker(context)

    def do(self, task: Task) -> Answer:
        return do(self._worker, task)


def _start_ray(config: RunnerConfig, cpus: float) -> None:
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
    except (RayError, ConnectionError, ValueError, RuntimeError) as error:
        raise PreparationError(
            f"Expected a Ray cluster at {config.address or 'this machine'}, but it could not be "
            f"reached: {error}. Start one with `ray start --head`, or take runner=local."
        ) from error


def _cpus(config: RunnerConfig, stage: str) -> float:
    resources = config.resources(stage)
    return resources.workers * resources.cpus
