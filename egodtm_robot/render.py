"""Draws stored demonstrations again: ``python -m egodtm_robot.render demos=...``.

A store keeps every simulator state and all that a reset randomized, so any camera, resolution or
modality can be added later, in parallel, without collecting anything. What is drawn equals what
collecting with that camera would have stored.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

from dataclasses import dataclass, field
from pathlib import Path

from egodtm_robot.core.configuration import Workers, command
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.storage import folder_bytes, format_bytes
from egodtm_robot.demos.drawing import Modality, add_images
from egodtm_robot.demos.recorded import DrawingConfig, drawn_environment
from egodtm_robot.demos.store import DemonstrationStore


@dataclass
class RenderConfig:
    """What to draw again."""

    demos: str = "???"
    """Folder of the store."""

    env: DrawingConfig = field(default_factory=DrawingConfig)
    """Cameras, resolution and quality; the environment and its presets are the store's."""

    modalities: list[Modality] = field(default_factory=lambda: ["rgb"])
    """Images to draw; segmentation gives the number of the object that each pixel shows."""

    workers: Workers = 2
    """Processes; 0 draws in the main one."""


@command(RenderConfig, "render")
def main(config: RenderConfig) -> None:
    """Adds images to a store and says what was written."""
    path = Path(config.demos)
    written = add_images(
        path,
        drawn_environment(DemonstrationStore.open(path).attributes, config.env),
        config.modalities,
        config.workers,
        progress=Progress,
    )
    size = format_bytes(folder_bytes(path))
    print(f"{path}: wrote {', '.join(written) or 'nothing, all was there'} ({size})")


if __name__ == "__main__":
    main()
