import os
import pickle
import signal
import threading
import time
from functools import partial
from itertools import count, islice
from pathlib import Path

import psutil
import pytest

from egodtm_robot.core.errors import (
    ConfigurationError,
    DiskSpaceError,
    UnknownNameError,
    WorkerDiedError,
)
from egodtm_robot.core.processes.maps import ordered_map, unordered_map
from egodtm_robot.core.processes.threads import thread_settings

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


def die_once_at_three(folder: Path, number: int) -> int:
    mark = folder / "died"
    if number == 3 and not mark.exists():
        mark.touch()
        os._exit(7)
    return number


def fail_at_two(number: int) -> int:
    if number == 2:
        raise ValueError("two is too many")
    return number


def raise_ours(number: int) -> int:
    if number == 0:
        raise UnknownNameError("fruit", "aple", ("apple", "pear"))
    raise DiskSpaceError(28, "The disk is full.")


def forget_how_to_start() -> None:
    raise RuntimeError("no screen to draw on")


def unpicklable(number: int) -> object:
    return lambda: number


def environment(_: int) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in thread_settings(1)}


def no_children() -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        children = [
            child
            for child in psutil.Process().children()
            if "spawn_main" in " ".join(child.cmdline())
        ]
        if not children:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order_of_the_arguments(workers):
    results = list(ordered_map(slow_for_even, range(7), workers, start, (100,)))
    assert [value for value, _ in results] == list(range(100, 107))
    pids = {pid for _, pid in results}
    assert (os.getpid() in pids) == (workers == 0)
    assert no_children()


@pytest.mark.parametrize("workers", [0, 2])
def test_arguments_come_with_their_results_as_they_are_done(workers):
    results = list(unordered_map(slow_for_even, range(7), workers, start, (100,)))
    assert sorted(argument for argument, _ in results) == list(range(7))
    assert all(value == argument + 100 for argument, (value, _) in results)


@pytest.mark.parametrize("ahead", [1, 2])
def test_endless_arguments_are_drawn_only_as_needed(ahead):
    drawn = []

    def arguments():
        for number in count():
            drawn.append(number)
            yield number

    results = ordered_map(slow_for_even, arguments(), 2, start, (0,), ahead=ahead)
    assert [value for value, _ in islice(results, 5)] == [0, 1, 2, 3, 4]
    time.sleep(0.3)
    results.close()
    assert len(drawn) <= 5 + 2 * ahead
    assert no_children()
    assert not [thread for thread in threading.enumerate() if thread.name == "map"]


def test_as_many_results_ahead_as_there_are_arguments_come_to_an_end():
    """The last slot is not used up by looking for arguments that are not there."""
    for arguments in (0, 1, 3):
        assert list(ordered_map(fail_at_two, [5] * arguments, 1, ahead=1)) == [5] * arguments


def test_workers_go_on_while_a_result_is_consumed():
    results = ordered_map(slow_for_even, range(0, 16, 2), 1, start, (0,))
    next(results)
    time.sleep(0.5)
    began = time.monotonic()
    assert len(list(islice(results, 3))) == 3
    assert time.monotonic() - began < 0.1
    results.close()


def test_a_killed_worker_is_replaced_and_no_result_is_lost(tmp_path):
    results = ordered_map(partial(die_once_at_three, tmp_path), range(10), 2)
    assert list(results) == list(range(10))
    assert (tmp_path / "died").exists()


def test_a_call_that_kills_every_worker_is_a_named_error_with_the_signal():
    with pytest.raises(WorkerDiedError, match=r"3 of them died.*SIGKILL.*same command again"):
        list(ordered_map(die_at_three, range(10), 2))
    with pytest.raises(WorkerDiedError, match="1 of them died"):
        list(ordered_map(die_at_three, range(10), 2, retries=0))
    assert no_children()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_in_a_worker_reaches_the_caller(workers):
    with pytest.raises(ValueError, match="two is too many") as caught:
        list(ordered_map(fail_at_two, range(10), workers))
    if workers:
        assert "fail_at_two" in caught.value.__notes__[0], "the worker's traceback is lost"


def test_our_exceptions_keep_their_type_and_their_words():
    with pytest.raises(UnknownNameError, match="Did you mean 'apple'"):
        list(ordered_map(raise_ours, [0], 1))
    with pytest.raises(DiskSpaceError, match="The disk is full") as caught:
        list(ordered_map(raise_ours, [1], 1))
    assert caught.value.errno == 28


def test_a_worker_that_cannot_be_set_up_is_an_error_and_no_hang():
    with pytest.raises(RuntimeError, match="no screen to draw on"):
        list(ordered_map(fail_at_two, range(3), 2, forget_how_to_start))


def test_a_result_that_cannot_be_pickled_is_an_error_and_no_hang():
    with pytest.raises((pickle.PicklingError, AttributeError), match="pickle"):
        list(ordered_map(unpicklable, range(3), 1))


def test_an_argument_that_cannot_be_drawn_is_an_error_and_no_hang():
    def arguments():
        yield 1
        raise ValueError("no more of these")

    with pytest.raises(ValueError, match="no more of these"):
        list(ordered_map(fail_at_two, arguments(), 1))
    assert no_children()


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(ConfigurationError, match="got -1"):
        list(ordered_map(fail_at_two, range(3), -1))


def test_each_worker_has_one_thread_unless_the_user_says_otherwise(monkeypatch):
    for name in thread_settings(1):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    (found,) = ordered_map(environment, [0], 1)
    assert (found["OMP_NUM_THREADS"], found["MKL_NUM_THREADS"]) == ("1", "3")
    # Threads that wait awake take the core that another process needs.
    assert found["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "OMP_NUM_THREADS" not in os.environ
