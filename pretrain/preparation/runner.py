"""How the work of a preparation is spread: the ``runner`` part of the configuration."""

from dataclasses import dataclass, field
from typing import Literal

from egodtm_robot.core.configuration import Workers
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from pretrain.annotate.base import STAGES
from pretrain.preparation.pool import Pool
from pretrain.preparation.work import WorkContext

RunnerKind = Literal["local", "ray"]
STAGES_WITH_WORKERS = ("decode", *STAGES)
"""Stages that have workers of their own with ``runner=ray``; those that decode also assemble."""


@dataclass
class StageResources:
    """What the workers of a stage are given; only for ``runner=ray``."""

    workers: int = 1
    """Actors that do nothing but this stage."""

    cpus: float = 1.0
    """Cores of each."""

    gpus: float = 0.0
    """GPUs of each, 0.5 for two on one; asked for only where the cluster has any."""


@dataclass
class RunnerConfig:
    """The ``runner`` part of the configuration."""

    kind: RunnerKind = "local"
    """``local`` runs processes on this machine, ``ray`` actors on a Ray cluster."""

    workers: Workers = 2
    """Processes of ``local``, each able to do every stage; 0 does everything in the main one."""

    limits: dict[str, int] = field(default_factory=dict)
    """For ``local``: how many workers may load a stage's annotator, such as ``{depth: 1}`` where
    one model fills the GPU."""

    address: str | None = None
    """For ``ray``: ``auto`` or the address of a cluster; null starts one on this machine for the
    length of the run."""

    object_store_mb: int = 100
    """For ``ray`` on this machine: shared memory for Ray. Clips do not pass through it, so little
    is needed; Ray takes no less than 75."""

    stages: dict[str, StageResources] = field(default_factory=dict)
    """For ``ray``: workers, cores and GPUs of each stage; one worker with one core by default."""

    in_flight: int | None = None
    """Shards between their first stage and their last, at most: what bounds the disk that decoded
    frames take in between. Null for two a worker."""

    retries: int = 3
    """Workers that may die at one shard before the run stops. A clip at which two died, alone, is a
    failure and counts for none."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a number is out of range.
            UnknownNameError: no such stage.
        """
        for name in (*self.limits, *self.stages):
            if name not in STAGES_WITH_WORKERS:
                raise UnknownNameError("stage", name, STAGES_WITH_WORKERS)
        counts = [*self.limits.values(), *(one.workers for one in self.stages.values())]
        if self.workers < 0 or self.retries < 0 or any(count < 1 for count in counts):
            raise ConfigurationError(
                "Expected runner.workers and runner.retries of at least 0, and limits and workers "
                f"of stages of at least 1, got {self.workers}, {self.retries} and {counts}."
            )
        if self.in_flight is not None and self.in_flight < 1:
            raise ConfigurationError(f"Expected runner.in_flight >= 1, got {self.in_flight}.")

    @property
    def worker_count(self) -> int:
        """Workers that share the work, at most."""
        if self.kind == "local":
            return max(1, self.workers)
        return sum(self.resources(stage).workers for stage in STAGES_WITH_WORKERS)

    @property
    def shards_in_flight(self) -> int:
        """Shards between their first stage and their last, at most."""
        return self.in_flight or 2 * self.worker_count

    def resources(self, stage: str) -> StageResources:
        """What the workers of a stage are given."""
        return self.stages.get(stage, StageResources())


def start_pool(config: RunnerConfig, context: WorkContext, stages: tuple[str, ...]) -> Pool:
    """The workers of a run.

    Args:
        config: how many, and where.
        context: what all jobs share.
        stages: that may have to run.

    Raises:
        MissingPackageError: ``runner=ray`` without Ray.
        PreparationError: the cluster cannot be reached.
    """
    if config.kind == "ray":
        from pretrain.preparation.ray_runner import RayPool

        return RayPool(config, context, stages)
    from pretrain.preparation.local_runner import InlinePool, LocalPool

    return LocalPool(context, config.workers) if config.workers else InlinePool(context)
