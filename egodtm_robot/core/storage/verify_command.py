"""What the commands that read every byte of a store have in common."""

import sys
from collections.abc import Callable, Sequence

from egodtm_robot.core.errors import EgoDTMRobotError
from egodtm_robot.core.storage import Problem


def verify_command(
    module: str,
    inspect: Callable[[str], tuple[Sequence[Problem], str]],
    arguments: Sequence[str] | None = None,
) -> int:
    """Print what is damaged in the store that the command line names.

    Args:
        module: as ``python -m`` knows the command.
        inspect: given the path, returns the problems found and a line that describes the store.
        arguments: of the command line, by default this process's.

    Returns:
        0 if all is well or help was asked for, 1 if something is damaged or there is no store, 2 on
        wrong usage.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if {"-h", "--help"}.intersection(arguments):
        print(f"Usage: python -m {module} PATH\n")
        print("Reads every byte of the store at PATH and names what is damaged.")
        return 0
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(f"Usage: python -m {module} PATH", file=sys.stderr)
        return 2
    path = arguments[0]
    try:
        problems, description = inspect(path)
    except EgoDTMRobotError as error:
        print(error, file=sys.stderr)
        return 1
    for problem in problems:
        print(problem)
    if problems:
        print(f"{len(problems)} problems in {path}", file=sys.stderr)
        return 1
    print(f"{path}: {description}, all intact")
    return 0
