"""Runs commands, each in a process of its own with a log, on the workers of a runner."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from egodtm_robot.core.errors import EgoDTMRobotError
from egodtm_robot.core.processes.dispatch import run_tasks
from egodtm_robot.core.processes.module_run import run_module
from egodtm_robot.core.processes.runner import Runner, WorkerGroup
from egodtm_robot.core.processes.spawn import how_it_ended
from egodtm_robot.core.processes.threads import thread_share

LOG_FILE = "log.txt"
"""In the folder of a run: what it printed, attempt after attempt."""

RUN_GROUP = WorkerGroup("run")
"""The workers that do the runs, each one run at a time."""

_TAIL_LINES = 5


class RunFailedError(EgoDTMRobotError, RuntimeError):
    """A run ended with an error."""


@dataclass(frozen=True)
class CommandRun:
    """A command to run.

    Attributes:
        name: in progress and error messages.
        module: as for ``python -m``.
        arguments: of its command line; ``{threads}`` in one stands for the threads that the run
            may use.
        folder: gets the log; made if missing.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    folder: Path


@dataclass(frozen=True)
class _End:
    """How a run ended."""

    exit_code: int
    last_lines: str


def run_commands(
    runs: Sequence[CommandRun],
    runner: Runner,
    on_finished: Callable[[CommandRun], None] = lambda run: None,
) -> None:
    """Run commands, as many at a time as there are workers.

    A run whose worker died is started again on another one. After a run that failed no further one
    begins; those under way come to their end first, since their work would be lost. Whatever ends
    this process or its workers ends the runs under way.

    Args:
        runs: the commands, in order of their beginning.
        runner: where they run.
        on_finished: called in this process with each run that ended well.

    Raises:
        RunFailedError: a run ended with another exit code than 0.
        WorkerDiedError: workers died again and again at one run.
    """
    waiting = deque(runs)
    failed: list[tuple[CommandRun, _End]] = []
    with runner.start(_make_worker, [RUN_GROUP]) as executor:
        for run, end in run_tasks(executor, waiting, runner.retries, lambda run: run.name):
            if end.exit_code == 0:
                on_finished(run)
            else:
                failed.append((run, end))
                waiting.clear()
    if failed:
        run, end = failed[0]
        others = f" ({len(failed) - 1} more failed as well)" if failed[1:] else ""
        raise RunFailedError(
            f"Expected {run.name} to end well, but it {how_it_ended(end.exit_code)}{others}. Its "
            f"output is in {run.folder / LOG_FILE} and ends with:\n{end.last_lines}\nWhat is "
            "finished is kept: put this right and start the same command again to go on."
        )


def _make_worker() -> Callable[[CommandRun], _End]:
    return _execute


def _execute(run: CommandRun) -> _End:
    run.folder.mkdir(parents=True, exist_ok=True)
    log = run.folder / LOG_FILE
    threads = thread_share()
    arguments = [argument.replace("{threads}", str(threads)) for argument in run.arguments]
    exit_code = run_module(run.module, arguments, log, threads)
    lines = log.read_text(errors="replace").splitlines()
    return _End(exit_code, "\n".join(lines[-_TAIL_LINES:]))
