"""Runs the grid that a benchmark compares, and writes its tables."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from egodtm_robot.comparison.cells import Cell, cells_of, check_cells
from egodtm_robot.comparison.command_runs import (
    LOG_FILE,
    RUN_GROUP,
    CommandRun,
    RunEnd,
    RunFailedError,
    run_commands,
)
from egodtm_robot.comparison.grid_config import GridConfig
from egodtm_robot.comparison.grid_progress import FailedCell, GridProgress
from egodtm_robot.comparison.table import BenchmarkTable
from egodtm_robot.core.processes.runner import make_runner
from egodtm_robot.core.run_folder import claim_run_dir
from egodtm_robot.core.storage.atomic_files import write_atomically
from egodtm_robot.evaluation.results import FinishedRun, RunResults


@dataclass
class _SharedSettings:
    """What all runs of a folder have in common; a finished one counts for no others."""

    protocol: str
    overrides: list[str]


def run_grid(config: GridConfig) -> dict[str, BenchmarkTable]:
    """Runs what is missing, writes the tables beside the runs and returns them.

    Returns:
        For each protocol the table of its runs.

    Raises:
        ConfigurationError: ``train_bc`` would refuse the settings of a run.
        RunFailedError: runs failed; the tables of the others are written all the same.
        ResumeMismatchError: the folder's runs have another protocol or other overrides.
        WorkerDiedError: workers died again and again at one run.
        ClusterError: the cluster cannot be reached.
    """
    cells = cells_of(config)
    missing = [cell for cell in cells if cell.finished_folder(config) is None]
    check_cells(missing, config)
    for protocol in config.protocols:
        folder = config.protocol_dir(protocol)
        claim_run_dir(folder, _SharedSettings(protocol, config.overrides))
    try:
        if missing:
            _run(config, cells, missing)
    except RunFailedError:
        _write_tables(config)
        raise
    return _write_tables(config)


def table_of(config: GridConfig, protocol: str) -> BenchmarkTable:
    """The table of a protocol's runs that are finished."""
    rows = config.rows()
    runs: dict[tuple[str, str], Sequence[FinishedRun]] = {}
    for row in rows:
        for environment in config.environments:
            cells = [Cell(protocol, row, environment, seed) for seed in config.seeds]
            folders = [cell.finished_folder(config) for cell in cells]
            runs[row.name, environment] = [
                FinishedRun.load(folder) for folder in folders if folder is not None
            ]
    names = [row.name for row in rows]
    reference = config.reference_row().name
    return BenchmarkTable.from_runs(names, config.environments, runs, reference)


def _run(config: GridConfig, cells: Sequence[Cell], missing: Sequence[Cell]) -> None:
    runner = make_runner(config.runner)
    progress = GridProgress(
        list(missing), runner.worker_count([RUN_GROUP]), _made(Path(config.run_dir))
    )
    for cell in cells:
        folder = cell.finished_folder(config)
        if folder is not None:
            progress.finished[cell] = RunResults.load(folder).timings_s
    by_folder = {cell.folder(config): cell for cell in missing}

    def on_ended(run: CommandRun, end: RunEnd) -> None:
        cell = by_folder[run.folder]
        if end.exit_code == 0:
            progress.finish(cell, RunResults.load(run.folder).timings_s)
        else:
            progress.fail(cell, FailedCell(run.name.rstrip(","), run.folder / LOG_FILE))

    def batches() -> Iterator[list[CommandRun]]:
        yield [cell.command(config) for cell in missing]

    run_commands(batches(), runner, lambda run: progress.begin(by_folder[run.folder]), on_ended)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_tables(config: GridConfig) -> dict[str, BenchmarkTable]:
    tables = {protocol: table_of(config, protocol) for protocol in config.protocols}
    for protocol, table in tables.items():
        folder = config.protocol_dir(protocol)
        write_atomically(folder / "table.md", f"{table.to_markdown()}\n".encode())
        text = json.dumps(table.to_json(), indent=2)
        write_atomically(folder / "table.json", f"{text}\n".encode())
    return tables
