import os
import signal
import subprocess
import sys
import time
from itertools import count, islice
from pathlib import Path

import pytest

from egodtm_robot.work_queue import WorkerDiedError, ordered_map

_offset = {"value": 0}


def start(offset: int) -> None:
    _offset["value"] = offset


def slow_for_even(number: int) -> tuple[int, int]:
    time.sleep(0.05 if number % 2 == 0 else 0.0)
    return number + _offset["value"], os.getpid()


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail_at_two(number: int) -> int:
    if number == 2:
        raise ValueError("two is too many")
    return number


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order_of_the_arguments(workers: int) -> None:
    results = list(ordered_map(slow_for_even, range(7), workers, start, (100,)))
    assert [value for value, _ in results] == list(range(100, 107))
    pids = {pid for _, pid in results}
    assert (os.getpid() in pids) == (workers == 0)


def test_endless_arguments_are_drawn_only_as_needed() -> None:
    drawn = []

    def arguments():
        for number in count():
            drawn.append(number)
            yield number

    results = ordered_map(slow_for_even, arguments(), 2, start, (0,), ahead=2)
    assert [value for value, _ in islice(results, 5)] == [0, 1, 2, 3, 4]
    results.close()
    assert len(drawn) <= 5 + 2 * 2


def test_a_killed_worker_is_a_named_error_and_no_hang() -> None:
    with pytest.raises(WorkerDiedError, match="same command again"):
        list(ordered_map(die_at_three, range(10), 2, start, (0,)))


def test_an_exception_in_a_worker_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match="two is too many"):
        list(ordered_map(fail_at_two, range(10), 2, start, (0,)))


def test_workers_end_with_a_killed_main_process(tmp_path: Path) -> None:
    program = (
        "import os, sys, time, pathlib\n"
        "from egodtm_robot.work_queue import ordered_map\n"
        "def start(): pass\n"
        "def work(folder):\n"
        "    pathlib.Path(folder, str(os.getpid())).touch()\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    list(ordered_map(work, [sys.argv[1]] * 2, 2, start))\n"
    )
    script = tmp_path / "program.py"
    script.write_text(program)
    marks = tmp_path / "marks"
    marks.mkdir()
    process = subprocess.Popen([sys.executable, str(script), str(marks)])
    deadline = time.monotonic() + 30
    while len(list(marks.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [int(mark.name) for mark in marks.iterdir()]
    assert len(workers) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers):
        assert time.monotonic() < deadline, "workers outlive their main process"
        time.sleep(0.05)
