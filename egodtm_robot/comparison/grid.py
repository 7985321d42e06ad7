"""Runs the grid that a benchmark compares, and writes its tables."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from egodtm_robot.comparison.arms import RunEpisodes, align_arms, make_arm
from egodtm_robot.comparison.cells import Cell, cells_of, check_cells
from egodtm_robot.comparison.command_runs import (
    LOG_FILE,
    RUN_GROUP,
    CommandRun,
    RunEnd,
    RunFailedError,
    run_commands,
)
from egodtm_robot.comparison.grid_config import GridConfig, SharedSettings
from egodtm_robot.comparison.grid_progress import FailedCell, GridProgress
from egodtm_robot.comparison.report.page import write_report
from egodtm_robot.comparison.run_folders import episodes_of
from egodtm_robot.comparison.sequential_path import SequentialPath, sequential_path
from egodtm_robot.comparison.table import BenchmarkTable
from egodtm_robot.core.processes.runner import make_runner
from egodtm_robot.core.run_folder import claim_run_dir
from egodtm_robot.core.storage.atomic_files import write_atomically
from egodtm_robot.evaluation.results import FinishedRun, RunResults


@dataclass(frozen=True)
class GridResult:
    """What came of the runs of one protocol.

    Attributes:
        table: of the finished runs.
        path: how the rows were decided one after another; None where ``stop=complete``.
    """

    table: BenchmarkTable
    path: SequentialPath | None = None

    def to_markdown(self) -> str:
        """The table, and the decisions below it."""
        parts = [self.table.to_markdown()]
        if self.path is not None:
            parts.append(self.path.to_markdown())
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        sequential = {} if self.path is None else {"sequential": self.path.to_json()}
        return {**self.table.to_json(), **sequential}


def run_grid(config: GridConfig) -> dict[str, GridResult]:
    """Runs what is missing, writes the tables beside the runs and returns them.

    With ``stop=decided`` the runs of a seed begin when those of the one before have ended, for the
    rows that are not decided by then.

    Returns:
        For each protocol what came of its runs.

    Raises:
        ConfigurationError: ``train_bc`` would refuse the settings of a run.
        PairingError: ``stop=decided``, and finished runs lack the rows of their episodes.
        RunFailedError: runs failed; the tables of the others are written all the same.
        ResumeMismatchError: the runs of the ``run_dir`` that was given have other overrides.
        WorkerDiedError: workers died again and again at one run.
        ClusterError: the cluster cannot be reached.
    """
    cells = cells_of(config)
    missing = [cell for cell in cells if cell.finished_folder(config) is None]
    check_cells(missing, config)
    if config.stop == "decided":
        for protocol in config.protocols:
            path_of(config, protocol)
    for protocol in config.protocols:
        folder = config.protocol_dir(protocol)
        claim_run_dir(folder, SharedSettings(protocol, config.overrides))
    try:
        if missing:
            _run(config, cells, missing)
    except RunFailedError:
        _write_results(config)
        raise
    return _write_results(config)


def table_of(config: GridConfig, protocol: str) -> BenchmarkTable:
    """The table of a protocol's runs that are finished."""
    runs: dict[tuple[str, str], Sequence[FinishedRun]] = {}
    for row in config.rows():
        for environment in config.environments:
            cells = [Cell(protocol, row, environment, seed) for seed in config.seeds]
            runs[row.name, environment] = _finished(cells, config)
    names = [row.name for row in config.rows()]
    reference = config.reference_row().name
    return BenchmarkTable.from_runs(names, config.environments, runs, reference, config.margin)


def path_of(config: GridConfig, protocol: str) -> SequentialPath:
    """The way of a protocol's rows to their decisions, as far as runs are finished.

    A run seed of a row counts once it has a run in every environment.

    Raises:
        PairingError: finished runs lack the rows of their episodes, or share none.
    """
    arms = []
    for row in config.rows():
        episodes: list[RunEpisodes] = []
        for seed in config.seeds:
            cells = [Cell(protocol, row, environment, seed) for environment in config.environments]
            runs = _finished(cells, config)
            if len(runs) == len(cells):
                episodes += [one for run in runs for one in episodes_of(run)]
        arms.append(make_arm(row.name, episodes))
    reference = config.reference_row().name
    return sequential_path(align_arms(arms), reference, config.seeds, config.margin, config.alpha)


def _finished(cells: Sequence[Cell], config: GridConfig) -> list[FinishedRun]:
    folders = [cell.finished_folder(config) for cell in cells]
    return [FinishedRun.load(folder) for folder in folders if folder is not None]


def _run(config: GridConfig, cells: Sequence[Cell], missing: Sequence[Cell]) -> None:
    folder = config.parent_dir()
    folder.mkdir(parents=True, exist_ok=True)
    runner = make_runner(config.runner)
    progress = GridProgress(list(missing), runner.worker_count([RUN_GROUP]), folder)
    for cell in cells:
        finished = cell.finished_folder(config)
        if finished is not None:
            progress.finished[cell] = RunResults.load(finished).timings_s
    by_folder = {cell.folder(config): cell for cell in missing}

    def on_ended(run: CommandRun, end: RunEnd) -> None:
        cell = by_folder[run.folder]
        if end.exit_code == 0:
            progress.finish(cell, RunResults.load(run.folder).timings_s)
        else:
            progress.fail(cell, FailedCell(run.name.rstrip(","), run.folder / LOG_FILE))

    run_commands(
        _batches(config, missing, progress),
        runner,
        lambda run: progress.begin(by_folder[run.folder]),
        on_ended,
    )


def _batches(
    config: GridConfig, missing: Sequence[Cell], progress: GridProgress
) -> Iterator[list[CommandRun]]:
    """The runs that may begin together: all of them, or those of a seed after its predecessor."""
    if config.stop == "complete":
        yield [cell.command(config) for cell in missing]
        return
    for seed in config.seeds:
        active = {protocol: path_of(config, protocol).active for protocol in config.protocols}
        progress.drop(cell for cell in missing if cell.row.name not in active[cell.protocol])
        yield [
            cell.command(config)
            for cell in missing
            if cell.seed == seed and cell.row.name in active[cell.protocol]
        ]
    # What the last seed has decided is not needed either.
    progress.drop(missing)


def _write_results(config: GridConfig) -> dict[str, GridResult]:
    results = {}
    for protocol in config.protocols:
        path = path_of(config, protocol) if config.stop == "decided" else None
        result = results[protocol] = GridResult(table_of(config, protocol), path)
        folder = config.protocol_dir(protocol)
        write_atomically(folder / "table.md", f"{result.to_markdown()}\n".encode())
        text = json.dumps(result.to_json(), indent=2)
        write_atomically(folder / "table.json", f"{text}\n".encode())
        if result.table.comparison is not None:
            write_report(folder / "report.html", result.table.arms, result.table.comparison)
    return results
