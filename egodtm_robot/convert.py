"""Other toolkits' data: ``python -m egodtm_robot.convert format=lerobot path=... out=...``.

A data set of another toolkit becomes a store, from which ``train_bc`` learns, or a store becomes a
data set of another toolkit. Which way it goes follows from what lies at ``path``.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from egodtm_robot.core.configuration import OutputFolder, Workers, command
from egodtm_robot.core.errors import StoreNotFoundError
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.storage import folder_bytes, format_bytes
from egodtm_robot.demos.convert.contract import make_format
from egodtm_robot.demos.convert.exporting import export_demonstrations
from egodtm_robot.demos.convert.importing import import_demonstrations
from egodtm_robot.demos.store import DemonstrationStore


@dataclass
class ConvertConfig:
    """What to convert."""

    format: dict[str, Any] = field(default_factory=dict)
    """The other toolkit's format; a name of ``configs/format`` or an import path in ``_target_``,
    with the options of that format."""

    path: str = "???"
    """A store of demonstrations, which is written in the format, or a data set of the format, which
    is read."""

    out: OutputFolder = "???"
    """What is written: a store, which conversion goes on with if it exists, or a data set."""

    workers: Workers = 2
    """Processes that read, decode, encode and write; 0 works in the main one."""

    def __post_init__(self) -> None:
        """Refuse a format that is not there, and options that it does not take.

        Raises:
            EgoDTMRobotError: see :func:`make_format`.
        """
        make_format(self.format)


@command(ConvertConfig, "convert")
def main(config: ConvertConfig) -> None:
    """Converts in the direction that fits what lies at the path, and says what came of it."""
    format = make_format(config.format)
    source, out = Path(config.path), Path(config.out)
    try:
        store = DemonstrationStore.open(source)
    except StoreNotFoundError:
        store = import_demonstrations(
            format, source, out, config.workers, progress=_progress, announce=_announce
        )
        size = format_bytes(folder_bytes(out))
        cameras = ", ".join(store.attributes.cameras) or "none"
        print(
            f"{store.num_episodes} episodes of {store.num_steps} steps in {out} ({size}); actions "
            f"{store.array('actions').spec.row_shape[0]}, proprioception "
            f"{store.array('proprioception').spec.row_shape[0]}, cameras {cameras}"
        )
    else:
        summary = export_demonstrations(
            format, source, out, config.workers, progress=_progress, announce=_announce
        )
        size = format_bytes(folder_bytes(out) if out.is_dir() else out.stat().st_size)
        print(f"{store.num_episodes} episodes of {store.num_steps} steps in {out} ({size})")
        print(f"numbers exact; {summary}")


def _progress(episodes: int) -> Progress:
    return Progress("convert", episodes, start=None)


def _announce(size: int) -> None:
    print(f"at most {format_bytes(size)} of disk", file=sys.stderr)


if __name__ == "__main__":
    main()
