"""Check a clip store byte by byte: ``python -m pretrain.clips.verify PATH``."""

import sys
from collections.abc import Sequence

from egodtm_robot.core.errors import EgoDTMRobotError
from pretrain.clips.store import ClipStore


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found; 0 if all is well, 1 if something is damaged, 2 on wrong usage."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if len(arguments) != 1:
        print("Usage: python -m pretrain.clips.verify PATH", file=sys.stderr)
        return 2
    try:
        store = ClipStore.open(arguments[0])
        problems = store.verify()
    except EgoDTMRobotError as error:
        print(error, file=sys.stderr)
        return 1
    for problem in problems:
        print(problem)
    if problems:
        print(f"{len(problems)} problems in {arguments[0]}", file=sys.stderr)
        return 1
    shards = len(store.attributes)
    print(f"{arguments[0]}: {len(store)} clips in {shards} shards, all intact")
    return 0


if __name__ == "__main__":
    sys.exit(main())
