"""Runs a module as ``python -m`` does, in a process that ends with this one."""

import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from egodtm_robot.core.processes.parent import follow_parent
from egodtm_robot.core.processes.threads import THREAD_VARIABLES


def run_module(module: str, arguments: Sequence[str], log: Path, threads: int) -> int:
    """Run ``python -m module arguments`` and wait for its end.

    Args:
        module: name of the module.
        arguments: of its command line.
        log: file that its output is appended to; its folder must be there.
        threads: each library in the process may have, where the user's environment does not say
            otherwise.

    Returns:
        The exit code; that of a process that a signal killed is the signal's number, negative.
    """
    by_kernel = threading.current_thread() is threading.main_thread()
    follower = [__name__, str(os.getpid()), str(int(by_kernel))]
    with log.open("a") as output:
        return subprocess.run(
            [sys.executable, "-m", *follower, module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict.fromkeys(THREAD_VARIABLES, str(threads)) | os.environ,
            check=False,
        ).returncode


def _main() -> None:
    """The process: follow the parent, then be the module."""
    _, parent, by_kernel, module, *arguments = sys.argv
    follow_parent(int(parent), bool(int(by_kernel)))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
