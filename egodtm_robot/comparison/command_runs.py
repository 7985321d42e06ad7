"""Runs commands, each in a process of its own with a log, on the workers of a runner."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
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
class RunEnd:
    """How a run ended.

    Attributes:
        exit_code: 0 if it ended well; that of a run which a signal killed is the signal's number,
            negative.
        last_lines: the end of its output.
    """

    exit_code: int
    last_lines: str


def run_commands(
    batches: Iterable[Sequence[CommandRun]],
    runner: Runner,
    on_begun: Callable[[CommandRun], None] = lambda run: None,
    on_ended: Callable[[CommandRun, RunEnd], None] = lambda run, end: None,
) -> None:
    """Run commands, as many at a time as there are workers.

    A run whose worker died is started again on another one. A run that fails does not stop the
    others of its batch; no further batch begins after it. Whatever ends this process or its workers
    ends the runs under way.

    Args:
        batches: the commands, in order of their beginning. The next batch is asked for when all
            runs of the last one have ended, so that it may depend on them.
        runner: where they run.
        on_begun: called in this process with each run that begins, again if its worker has died.
        on_ended: called in this process with each run that has ended, well or not.

    Raises:
        RunFailedError: runs ended with another exit code than 0; each is named with its log.
        WorkerDiedError: workers died again and again at one run.
    """
    failed: list[tuple[CommandRun, RunEnd]] = []
    total = 0
    with runner.start(_make_worker, [RUN_GROUP]) as executor:
        for batch in batches:
            waiting = deque(batch)
            total += len(waiting)
            for run, end in run_tasks(
                executor, waiting, runner.retries, lambda run: run.name, on_begun
            ):
                on_ended(run, end)
                if end.exit_code != 0:
                    failed.append((run, end))
            if failed:
                raise RunFailedError(_description(failed, total))


def _description(failed: Sequence[tuple[CommandRun, RunEnd]], total: int) -> str:
    lines = [f"Expected all of {total} runs to end well, but {len(failed)} did not:"]
    for run, end in failed:
        lines += [f"{run.name} {how_it_ended(end.exit_code)}; {run.folder / LOG_FILE} ends with:"]
        lines += [f"    {line}" for line in end.last_lines.splitlines()]
    lines += [
        "What is finished is kept: put this right and start the same command again for what is "
        "missing."
    ]
    return "\n".join(lines)


def _make_worker() -> Callable[[CommandRun], RunEnd]:
    return _execute


def _execute(run: CommandRun) -> RunEnd:
    run.folder.mkdir(parents=True, exist_ok=True)
    log = run.folder / LOG_FILE
    threads = thread_share()
    arguments = [argument.replace("{threads}", str(threads)) for argument in run.arguments]
    exit_code = run_module(run.module, arguments, log, threads)
    lines = log.read_text(errors="replace").splitlines()
    return RunEnd(exit_code, "\n".join(lines[-_TAIL_LINES:]))
