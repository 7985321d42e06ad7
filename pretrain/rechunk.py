"""Cuts videos into short small pieces: ``python -m pretrain.rechunk videos=ego4d out=ego4d_288``.

Give the new folder to a source in the old one's place. Run the same command again to go on.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

import time
from dataclasses import dataclass, field
from pathlib import Path

from egodtm_robot.core.configuration import OutputFolder, Workers, command
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.run_folder import claim_run_dir
from egodtm_robot.core.training.identity import NOT_DECISIVE
from pretrain.clips.rechunk import FAILURES, RechunkConfig, find_videos, rechunk


@dataclass
class RechunkCommandConfig:
    """Which videos to cut, and where to."""

    videos: str = "???"
    """Folder of the videos; all below it are cut."""

    out: OutputFolder = field(default="???", metadata=NOT_DECISIVE)
    """Folder of the pieces, with a folder a video; goes on there if it exists."""

    workers: Workers = field(default=2, metadata=NOT_DECISIVE)
    """Processes, each at one video on one core; 0 works in the main one."""

    pieces: RechunkConfig = field(default_factory=RechunkConfig)
    """What pieces are like."""


@command(RechunkCommandConfig, "rechunk")
def main(config: RechunkCommandConfig) -> None:
    """Cuts what is not cut yet and says what failed."""
    find_videos(Path(config.videos), Path(config.out))  # refused before anything is written
    claim_run_dir(Path(config.out), config)
    began = time.perf_counter()
    progress: list[Progress] = []

    def report(done: int, total: int) -> None:
        if not progress:
            progress.append(Progress("rechunk", total, done))
        progress[0](done)

    failures = rechunk(config.videos, config.out, config.pieces, config.workers, report)
    seconds = time.perf_counter() - began
    print(f"{config.out}: {len(failures)} videos failed, {seconds:.0f} s")
    for name, reason in sorted(failures.items())[:5]:
        print(f"  {name}: {reason}")
    if len(failures) > 5:
        print(f"  and {len(failures) - 5} more, see {Path(config.out) / FAILURES}")


if __name__ == "__main__":
    main()
