import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from egodtm_robot.comparison.command_runs import CommandRun, RunFailedError, run_commands
from egodtm_robot.core.errors import WorkerDiedError
from egodtm_robot.core.processes.local import LocalRunner
from egodtm_robot.core.processes.ray_cluster import RayRunner
from egodtm_robot.core.processes.threads import available_cores

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from process_tree import assert_gone, wait_until, workers_of

FAKES = Path(__file__).parents[1] / "fakes"


@pytest.fixture(autouse=True)
def fakes_are_found(monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(FAKES), os.environ.get("PYTHONPATH", "")])
    )
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def commands(tmp_path, *whats):
    return [
        CommandRun(what, "fake_command", (str(tmp_path / what), what, "{threads}"), tmp_path / what)
        for what in whats
    ]


def attempts(run):
    return [int(line) for line in (run.folder / "attempts").read_text().splitlines()]


@pytest.mark.parametrize(
    ("options", "share"),
    [
        ({"workers": 0}, available_cores()),
        ({"workers": 2}, max(1, available_cores() // 2)),
        ({"workers": 2, "threads": 3}, 3),
    ],
    ids=str,
)
def test_each_run_has_a_log_and_its_share_of_threads(tmp_path, options, share):
    finished = []
    runs = commands(tmp_path, "one", "other")
    run_commands(
        [runs], LocalRunner(**options), on_ended=lambda run, end: finished.append((run.name, end))
    )
    assert sorted(name for name, _ in finished) == ["one", "other"]
    assert all(end.exit_code == 0 for _, end in finished)
    for run in runs:
        assert (run.folder / "finished").exists()
        assert (run.folder / "log.txt").read_text() == f"threads {share} {share}\n"


def test_runs_that_fail_stop_no_others_and_are_named_with_their_logs(tmp_path):
    runs = commands(tmp_path, "fail", "die", "one", "other")
    asked = []

    def batches():
        yield runs
        asked.append("for more")

    message = (
        r"(?s)all of 4 runs to end well, but 2 did not:.*fail ended with exit code 1; "
        r".*fail/log.txt.*EncoderWeightsError.*die was killed by SIGKILL"
    )
    with pytest.raises(RunFailedError, match=message):
        run_commands(batches(), LocalRunner(workers=1))
    assert (tmp_path / "one" / "finished").exists()
    assert (tmp_path / "other" / "finished").exists()
    assert not asked, "a batch that failed is followed by none"


def test_a_batch_begins_when_the_one_before_has_ended(tmp_path):
    first, second, third = commands(tmp_path, "one", "other", "third")
    events = []

    def batches():
        yield [first, second]
        assert [what for what, _ in events].count("ended") == 2
        yield []
        yield [third]

    run_commands(
        batches(),
        LocalRunner(workers=2),
        lambda run: events.append(("begun", run.name)),
        lambda run, end: events.append(("ended", run.name)),
    )
    assert events[-2:] == [("begun", "third"), ("ended", "third")]
    assert len(events) == 6


def kill_the_worker_of(run, sure):
    """Wait until a run is under way, then kill the worker process that started it."""

    def kill():
        deadline = time.monotonic() + 60
        while not (run.folder / "attempts").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)
        process = psutil.Process(attempts(run)[0])
        sure.append(process)
        process.parent().kill()

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_run_whose_worker_was_killed_ends_with_it_and_is_started_again(tmp_path):
    (run,) = commands(tmp_path, "sleep once")
    orphans: list[psutil.Process] = []
    thread = kill_the_worker_of(run, orphans)
    run_commands([[run]], LocalRunner(workers=1))
    thread.join()
    assert (run.folder / "finished").exists()
    assert len(attempts(run)) == 2
    assert_gone(orphans)


def test_workers_that_keep_dying_at_a_run_are_a_named_error(tmp_path):
    (run,) = commands(tmp_path, "sleep")
    thread = kill_the_worker_of(run, [])
    with pytest.raises(WorkerDiedError, match=r"finish sleep, but 1 of them died.*SIGKILL"):
        run_commands([[run]], LocalRunner(workers=1, retries=0))
    thread.join()


PROGRAM = """
import sys
from pathlib import Path
from egodtm_robot.comparison.command_runs import CommandRun, run_commands
from egodtm_robot.core.processes.local import LocalRunner
from egodtm_robot.core.processes.ray_cluster import RayRunner

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run = CommandRun("sleep", "fake_command", (str(folder), "sleep", "1"), folder)
    run_commands([[run]], {runner})
"""

RUNNERS = {
    "local": "LocalRunner(workers=1)",
    "inline": "LocalRunner(workers=0)",
    "ray": "RayRunner()",
}


@pytest.mark.parametrize("runner", RUNNERS)
def test_runs_end_with_a_killed_main_process(tmp_path, runner):
    if runner == "ray":
        pytest.importorskip("ray")
    (tmp_path / "program.py").write_text(PROGRAM.format(runner=RUNNERS[runner]))
    folder = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "program.py", str(folder)], cwd=tmp_path)
    wait_until((folder / "attempts").exists, process)
    time.sleep(0.1)
    run = psutil.Process(int((folder / "attempts").read_text()))
    below = workers_of(process.pid)
    assert run in below
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert_gone(below, 15)


def test_a_cluster_replaces_a_killed_worker_and_loses_and_doubles_nothing(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    whats = ("sleep once", *(f"run {number}" for number in range(8)))
    here = [
        CommandRun(what, "fake_command", (what, what, "{threads}"), Path(what)) for what in whats
    ]
    failing = CommandRun("fail", "fake_command", ("fail", "fail", "1"), Path("fail"))
    ended: list[str] = []
    thread = kill_the_worker_of(here[0], [])
    # One start of Ray for everything: it takes seconds.
    with pytest.raises(RunFailedError, match=r"(?s)1 did not:.*fail ended.*EncoderWeightsError"):
        run_commands(
            [[*here, failing]],
            RayRunner(groups={"run": {"workers": 2, "cpus": 2}}),
            on_ended=lambda run, end: ended.append(run.name),
        )
    thread.join()
    assert sorted(ended) == sorted((*whats, "fail"))
    assert [len(attempts(run)) for run in here] == [2] + [1] * 8
    for run in here:
        assert (tmp_path / run.folder / "finished").exists(), "paths are not those of the main one"
        assert (tmp_path / run.folder / "log.txt").read_text().endswith("threads 2 2\n")
