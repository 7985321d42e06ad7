"""Collects demonstrations: ``python -m egodtm_robot.collect env=franka_kitchen_microwave out=...``.

Scripted experts act in the environment while Gaussian noise is added to what is executed; what is
recorded is the expert's clean action (DART; Laskey et al., 2017), so that the demonstrations show
how to come back from where a policy's own errors lead. Only successful episodes are kept. Physics
runs first, and only what is kept is drawn.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from egodtm_robot.core.configuration import (
    Bounds,
    OutputFolder,
    PositiveInt,
    RunSeed,
    Workers,
    command,
)
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.storage import folder_bytes, format_bytes
from egodtm_robot.demos.collection import collect_demonstrations
from envs.registry import environment_record, read_environment


@dataclass
class CollectConfig:
    """What to collect."""

    env: dict[str, Any] = field(default_factory=dict)
    """Environment, cameras and resolution; a name of ``configs/env`` or an import path in
    ``_target_``, with the options of that environment."""

    episodes: PositiveInt = 100
    """Successful episodes that the store shall hold."""

    seed: RunSeed = 0
    """Seed of the collection; its episodes never occur in an evaluation."""

    noise: Annotated[float, Bounds(0, 1)] = 0.05
    """Standard deviation of the noise on executed actions; the recorded ones stay clean."""

    out: OutputFolder = "???"
    """Folder of the store; collection goes on there if it exists."""

    workers: Workers = 2
    """Processes; 0 collects in the main one."""

    def __post_init__(self) -> None:
        """Refuse an environment that is not there, and options that it does not take.

        Raises:
            EgoDTMRobotError: see :func:`read_environment`.
        """
        self.env = environment_record(read_environment(self.env))


@command(CollectConfig, "collect")
def main(config: CollectConfig) -> None:
    """Collects demonstrations and says how many attempts were rejected."""
    path = Path(config.out)
    progress = Progress("collect", config.episodes, start=None)
    summary = collect_demonstrations(
        read_environment(config.env),
        path,
        config.episodes,
        seed=config.seed,
        noise=config.noise,
        workers=config.workers,
        on_progress=lambda kept, tried: progress(kept, f"tried {tried}"),
    )
    size = format_bytes(folder_bytes(path))
    print(
        f"{summary.kept} episodes of {summary.steps} steps in {path} ({size}); "
        f"{summary.collected} new in {summary.seconds:.0f} s; "
        f"{summary.rejection_rate:.1%} of {summary.attempted} attempts rejected"
    )


if __name__ == "__main__":
    main()
