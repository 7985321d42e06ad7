"""What processes a command has, for tests that kill some of them."""

import subprocess
import time
from collections.abc import Callable

import psutil

# They end by themselves: with the last process that they serve, or within Ray's minute.
_HOUSEKEEPERS = ("resource_tracker", "ray::DashboardAgent", "ray::RuntimeEnvAgent")


def workers_of(pid: int) -> list[psutil.Process]:
    """All processes below one, without those by which multiprocessing and Ray keep house."""
    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [one for one in below if not any(name in command_line(one) for name in _HOUSEKEEPERS)]


def command_line(process: psutil.Process) -> str:
    """The words that started a process; none if it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def wait_until(true: Callable[[], bool], process: subprocess.Popen, seconds: float = 120) -> None:
    """Wait for a condition; fail if the process ends or time runs out before it holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, f"the command ended with {process.returncode} too early"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; what is dead and not waited for does not."""
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def assert_gone(processes: list[psutil.Process], seconds: float = 5) -> None:
    """Fail if any of the processes lives on for longer."""
    deadline = time.monotonic() + seconds
    while left := alive(processes):
        lines = [command_line(one) for one in left]
        assert time.monotonic() < deadline, f"still there after {seconds:g} s: {lines}"
        time.sleep(0.02)
