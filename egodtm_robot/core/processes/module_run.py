"""Runs a module as ``python -m`` does, in a process that ends with this one."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from egodtm_robot.core.processes.threads import thread_settings

_FOLLOWER = "egodtm_robot.core.processes.module_follower"
"""The module that such a process begins as."""


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
    follower = [_FOLLOWER, str(os.getpid()), str(int(by_kernel))]
    with log.open("a") as output:
        return subprocess.run(
            [sys.executable, "-m", *follower, module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=thread_settings(threads) | os.environ,
            check=False,
        ).returncode
