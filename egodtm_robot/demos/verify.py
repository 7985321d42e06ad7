"""Check a demonstration store byte by byte: ``python -m egodtm_robot.demos.verify PATH``."""

import sys
from collections.abc import Sequence

from egodtm_robot.core.storage import Problem
from egodtm_robot.core.storage.verify_command import verify_command
from egodtm_robot.demos.store import DemonstrationStore


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found; see :func:`verify_command`."""
    return verify_command("egodtm_robot.demos.verify", _inspect, arguments)


def _inspect(path: str) -> tuple[Sequence[Problem], str]:
    store = DemonstrationStore.open(path)
    return store.verify(), f"{store.num_episodes} episodes, {store.num_steps} steps"


if __name__ == "__main__":
    sys.exit(main())
