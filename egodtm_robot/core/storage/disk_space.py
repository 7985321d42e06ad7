"""How much room files take, and whether there is room for more."""

import errno
import shutil
from pathlib import Path

from egodtm_robot.core.errors import DiskSpaceError


def check_free_space(path: str | Path, required_bytes: int) -> None:
    """Raise DiskSpaceError unless the disk that holds ``path`` has so much room, and 5 % more.

    Args:
        path: a file or folder that exists or is to be made.
        required_bytes: bytes about to be written.
    """
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < 1.05 * required_bytes:
        raise DiskSpaceError(
            errno.ENOSPC,
            f"Expected {format_bytes(1.05 * required_bytes)} of free disk for {path}, but only "
            f"{format_bytes(free)} are free. Make room, choose another path, or ask for less.",
        )


def folder_bytes(folder: str | Path) -> int:
    """Bytes of all files in a folder and the folders below it."""
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def format_bytes(count: float) -> str:
    """A number of bytes for people: "1.3 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
