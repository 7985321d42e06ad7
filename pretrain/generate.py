"""Draws synthetic clips: ``python -m pretrain.generate split=train clips=5000 out=...``.

The store is crash-safe: run the same command again to go on, or with more ``clips`` to extend it.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

import time
from dataclasses import dataclass, field

from egodtm_robot.core.configuration import OutputFolder, PositiveInt, Workers, command
from egodtm_robot.core.storage import folder_bytes, format_bytes
from pretrain.clips.synthetic import Split, SyntheticClipConfig, generate


@dataclass
class GenerateConfig:
    """Which clips to draw, and where to."""

    out: OutputFolder = "???"
    """Folder of the clip store; goes on there if it exists."""

    split: Split = "train"
    """Which clips: those of different splits share no scene and no surface."""

    clips: PositiveInt = 1000
    """Clips that the store shall hold."""

    workers: Workers = 2
    """Processes, each drawing on one core; 0 draws in the main one."""

    synthetic: SyntheticClipConfig = field(default_factory=SyntheticClipConfig)
    """What the clips are like."""


@command(GenerateConfig, "generate")
def main(config: GenerateConfig) -> None:
    """Draws what is missing and says how long that took."""
    began = time.perf_counter()
    drawn = generate(
        config.synthetic,
        config.split,
        config.clips,
        config.out,
        config.workers,
    )
    seconds = time.perf_counter() - began
    size = folder_bytes(config.out)
    print(
        f"{config.clips} {config.split} clips in {config.out} ({format_bytes(size)}); "
        f"{drawn} new in {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
