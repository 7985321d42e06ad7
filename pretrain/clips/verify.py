"""Check a clip store byte by byte: ``python -m pretrain.clips.verify PATH``."""

import sys
from collections.abc import Sequence

from egodtm_robot.core.storage import Problem
from egodtm_robot.core.storage.verify_command import verify_command
from pretrain.clips.store import ClipStore


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found; see :func:`verify_command`."""
    return verify_command("pretrain.clips.verify", _inspect, arguments)


def _inspect(path: str) -> tuple[Sequence[Problem], str]:
    store = ClipStore.open(path)
    return store.verify(), f"{len(store)} clips in {len(store.attributes)} shards"


if __name__ == "__main__":
    sys.exit(main())
