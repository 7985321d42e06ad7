import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from egodtm_robot.core.processes.spawn import spawn

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from process_tree import assert_gone, wait_until

# Native code that never gives the interpreter lock back, as a renderer or an encoder may for long.
HOLD_THE_LOCK = "import ctypes; ctypes.PyDLL(None).sleep(60)"

PROGRAM = """
import os, pathlib, sys, threading, time
from egodtm_robot.core.processes.maps import ordered_map
from egodtm_robot.core.processes.module_run import run_module
from egodtm_robot.core.processes.spawn import spawn

def work(folder):
    pathlib.Path(folder, str(os.getpid())).touch()
    {work}

def modules(folder):
    run_module("sleeper", [folder], pathlib.Path(folder, "log.txt"), 1)

if __name__ == "__main__":
    folder = sys.argv[1]
    {main}
"""

SLEEPER = """
import os, pathlib, sys, time
if __name__ == "__main__":
    pathlib.Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(60)
"""

SLEEP = "time.sleep(60)"
MAINS = {
    "a map": "list(ordered_map(work, [folder] * 2, 2))",
    "processes": f"[spawn(work, (folder,)) for _ in range(2)]; {SLEEP}",
    "processes of a thread that ended": (
        "threading.Thread(target=lambda: [spawn(work, (folder,)) for _ in range(2)]).start(); "
        + SLEEP
    ),
    "modules of workers": "list(ordered_map(modules, [folder] * 2, 2))",
}


def start(tmp_path, main, work=SLEEP):
    """Start a program; wait until two of its workers work and return it with all its processes."""
    (tmp_path / "program.py").write_text(PROGRAM.format(work=work, main=main))
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    marks = tmp_path / "marks"
    marks.mkdir()
    process = subprocess.Popen(
        [sys.executable, "program.py", str(marks)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    numbers = lambda: [int(mark.name) for mark in marks.iterdir() if mark.name.isdigit()]  # noqa: E731
    wait_until(lambda: len(numbers()) == 2, process)
    below = psutil.Process(process.pid).children(recursive=True)
    assert set(numbers()) <= {one.pid for one in below}
    return process, below


@pytest.mark.parametrize("main", MAINS.values(), ids=MAINS)
def test_workers_end_with_a_killed_main_process(tmp_path, main):
    process, below = start(tmp_path, main)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert_gone(below)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has to notice")
def test_a_worker_in_native_code_that_holds_the_interpreter_lock_ends_too(tmp_path):
    process, below = start(tmp_path, MAINS["a map"], HOLD_THE_LOCK)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert_gone(below)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("main", [MAINS["a map"], MAINS["modules of workers"]])
def test_an_interrupted_command_ends_its_workers_without_their_tracebacks(tmp_path, main, number):
    process, below = start(tmp_path, main)
    os.killpg(process.pid, number)  # a terminal sends Ctrl-C to all of them
    said = process.communicate(timeout=30)[1]
    assert_gone(below)
    assert said.count("Traceback") == (1 if number == signal.SIGINT else 0), said
    assert (
        not (tmp_path / "marks" / "log.txt").exists()
        or "Traceback" not in (tmp_path / "marks" / "log.txt").read_text()
    )


def touch(path: str) -> None:
    Path(path).touch()


def test_a_process_that_a_thread_started_outlives_the_thread(tmp_path):
    """The kernel sends its signal when the starting thread ends, so it is not asked there."""
    started = []
    thread = threading.Thread(target=lambda: started.append(spawn(touch, (str(tmp_path / "x"),))))
    thread.start()
    thread.join()
    started[0].join(60)
    assert started[0].exitcode == 0
    assert (tmp_path / "x").exists()
