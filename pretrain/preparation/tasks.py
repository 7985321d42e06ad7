"""What the workers of a preparation are asked for, whatever kind of workers they are."""

import traceback
from dataclasses import dataclass
from typing import Literal

from egodtm_robot.core.errors import EgoDTMRobotError
from egodtm_robot.core.processes.runner import WorkerGroup
from pretrain.annotate.stage import STAGES
from pretrain.preparation.work import AnnotatorCard, Done, Job, WorkContext, Worker

STAGES_WITH_WORKERS = ("decode", *STAGES)
"""Stages that have workers of their own with ``runner=ray``; those that decode also assemble."""


class PreparationError(EgoDTMRobotError, RuntimeError):
    """A worker met something that the rest of the run would meet as well."""


@dataclass(frozen=True)
class Task:
    """What a worker is asked for: a job, or a stage to describe the annotator of."""

    kind: Literal["run", "describe"]
    argument: Job | str


def worker_groups(stages: tuple[str, ...]) -> list[WorkerGroup]:
    """The workers that a preparation asks for.

    Args:
        stages: that may have to run. Shards are assembled whatever these are.
    """
    return [
        WorkerGroup(stage, frozenset({stage, "assemble"} if stage == "decode" else {stage}))
        for stage in STAGES_WITH_WORKERS
        if stage in stages or stage == "decode"
    ]


class StageWorker:
    """Does tasks, in the process of the worker.

    Args:
        context: what all jobs share.
    """

    def __init__(self, context: WorkContext) -> None:
        self._worker = Worker(context)

    def __call__(self, task: Task) -> Done | AnnotatorCard:
        """Do a task.

        Raises:
            PreparationError: something that nobody foresaw.
            EgoDTMRobotError: see :class:`~pretrain.preparation.work.Worker`.
        """
        try:
            if isinstance(task.argument, Job):
                return self._worker.run(task.argument)
            return self._worker.describe(task.argument)
        except EgoDTMRobotError:
            raise
        except Exception as error:
            about = task.argument.stage if isinstance(task.argument, Job) else task.argument
            traceback.print_exception(error)
            raise PreparationError(
                f"{about} stopped with {type(error).__name__}: {error}"
            ) from error
