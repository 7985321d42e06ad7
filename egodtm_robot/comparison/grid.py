"""The grid of runs that a benchmark compares: encoders, environments, seeds and what else varies.

A cell of the grid is a run of ``train_bc``. Its folder is
``<run_dir>/<environment>/<row>/seed_<seed>``, where a row of the table is an encoder together with
what else is varied. Finished runs are not repeated, so an interrupted grid goes on where it was,
and one more row costs its own runs only.
"""

import functools
import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from egodtm_robot.comparison.command_runs import CommandRun, run_commands
from egodtm_robot.comparison.table import BenchmarkTable
from egodtm_robot.core.configuration import OutputFolder, RunSeed
from egodtm_robot.core.configuration.instantiation import group_names
from egodtm_robot.core.errors import CheckpointError, ConfigurationError, UnknownNameError
from egodtm_robot.core.processes.runner import LOCAL_RUNNER, make_runner
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.run_folder import claim_run_dir
from egodtm_robot.core.storage.atomic_files import write_atomically
from egodtm_robot.evaluation.results import RESULTS_FILE, FinishedRun

_VARIED_GROUPS = ("policy", "protocol")
"""Groups of ``train_bc`` whose files ``vary`` may name."""

_AXES = ("encoder", "env", "run_dir", "seed", "workers")
"""Settings of ``train_bc`` that the grid itself chooses."""


@dataclass
class GridConfig:
    """What to compare."""

    encoders: list[str] = field(
        default_factory=lambda: [
            "none",
            "pixels",
            "vit_tiny_random",
            "efficientnet_lite0_random",
            "efficientnet_lite0",
            "egodtm",
            "oracle",
        ]
    )
    """Names of the ``encoder`` group or of ``checkpoints``, floor first and ceiling last."""

    checkpoints: dict[str, str] = field(default_factory=dict)
    """Rows that are checkpoints of ``python -m pretrain.run`` under ``encoder=egodtm``: a path for
    each name. ``{seed}`` in a path stands for the run's seed, so that every policy seed has the
    checkpoint of a pretraining seed of its own."""

    environments: list[str] = field(
        default_factory=lambda: [
            "franka_kitchen_microwave",
            "franka_kitchen_slide_cabinet",
            "franka_kitchen_hinge_cabinet",
            "franka_kitchen_knob",
            "franka_kitchen_light",
        ]
    )
    """Names of the ``env`` group; the default five are the tasks of R3M."""

    vary: list[str] = field(default_factory=list)
    """What else differs between rows: settings of ``train_bc`` with several values each, such as
    ``['policy=mlp,mlp_attention','env.cameras=[wrist],[left,right]']`` (with their quotes). Every
    combination is a row for every encoder."""

    seeds: list[RunSeed] = field(default_factory=lambda: [0, 1, 2])
    """A training run each; three or more, since single seeds rank nothing."""

    reference: str = "pixels"
    """The row that the others are compared with; where something varies, a row's name is its
    encoder and its settings, such as ``pixels policy=mlp``."""

    protocol_name: str = "standard"
    """Name of the ``protocol`` group: ``quick``, ``standard`` or ``r3m``. (Under the group's own
    name, Hydra would take the setting for a choice among this command's groups.)"""

    overrides: list[str] = field(default_factory=list)
    """Further overrides of every run, such as ``['env.visual=shifted','videos=1']`` (with their
    quotes); without the latter nothing is filmed."""

    run_dir: OutputFolder = "runs/benchmark"
    """The runs' parent folder, which also gets ``table.md`` and ``table.json``. It is of one
    protocol and its overrides, which its ``config.yaml`` names."""

    runner: dict[str, Any] = field(default_factory=lambda: dict(LOCAL_RUNNER))
    """Where the runs are done: a name of ``configs/runner`` (``local`` or ``ray``), or an import
    path in ``_target_``. Each of ``runner.workers`` has an equal share of the machine's cores."""

    def __post_init__(self) -> None:
        """Refuse what would fail after hours.

        Raises:
            UnknownNameError: no such encoder, environment, protocol or policy, or a checkpoint
                that is no row.
            ConfigurationError: nothing to run or something twice, the runner is out of range, or a
                path has a placeholder other than ``{seed}``.
            CheckpointError: a checkpoint is not there.
        """
        for name in ("encoders", "environments", "seeds"):
            values = getattr(self, name)
            if not values:
                raise ConfigurationError(f"Expected at least one of {name}, got none.")
            if len(set(values)) < len(values):
                raise ConfigurationError(f"Expected each of {name} once, got {values}.")
        for name in self.checkpoints:
            if name not in self.encoders:
                raise UnknownNameError("row of the benchmark", name, self.encoders)
        for name in self.encoders:
            if name not in self.checkpoints:
                _check_name("encoder", name)
        for name in self.environments:
            _check_name("env", name)
        _check_name("protocol", self.protocol_name)
        for seed in self.seeds:
            for name in self.checkpoints:
                path = self.checkpoint(name, seed)
                if not path.is_file():
                    raise CheckpointError(
                        f"Expected the checkpoint of {name} at {path}, found none. Train it with "
                        "python -m pretrain.run, or name another path."
                    )
        _variations(self.vary)
        make_runner(self.runner)

    def checkpoint(self, encoder: str, seed: int) -> Path:
        """The path of a row's checkpoint for a seed."""
        path = self.checkpoints[encoder]
        try:
            return Path(path.format(seed=seed)).expanduser().resolve()
        except (KeyError, IndexError, ValueError) as error:
            raise ConfigurationError(
                f"Expected no placeholder but {{seed}} in the path of {encoder}, got {path}."
            ) from error

    def rows(self) -> list["Row"]:
        """The rows of the table, top first."""
        varied = _variations(self.vary)
        return [Row(encoder, settings) for encoder in self.encoders for settings in varied]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        encoder: name of the group or of a checkpoint.
        settings: overrides of ``train_bc`` that are this row's own.
    """

    encoder: str
    settings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """In the table."""
        return " ".join((self.encoder, *self.settings))


@dataclass
class _SharedSettings:
    """What all runs of a folder have in common; a finished one counts for no others."""

    protocol: str
    overrides: list[str]


@dataclass(frozen=True)
class _Cell:
    """A run of the grid."""

    row: Row
    environment: str
    seed: int

    def folder(self, config: GridConfig) -> Path:
        """Where the run goes."""
        return Path(config.run_dir) / self.environment / self._place(config)

    def finished_folder(self, config: GridConfig) -> Path | None:
        """Where the results of the run are; None if it is not finished.

        Folders of environments had other names before (``microwave`` for
        ``franka_kitchen_microwave``), so results count by the environment that they name.
        """
        folder = self.folder(config)
        if (folder / RESULTS_FILE).is_file():
            return folder
        for file in sorted(Path(config.run_dir).glob(f"*/{self._place(config)}/{RESULTS_FILE}")):
            if json.loads(file.read_bytes()).get("env") == self.environment:
                return file.parent
        return None

    def command(self, config: GridConfig) -> CommandRun:
        """How the run is started."""
        encoder = [f"encoder={self.row.encoder}"]
        if self.row.encoder in config.checkpoints:
            path = config.checkpoint(self.row.encoder, self.seed)
            encoder = ["encoder=egodtm", f"encoder.checkpoint={_quoted(path)}"]
        folder = self.folder(config)
        arguments = (
            f"env={self.environment}",
            *encoder,
            f"protocol={config.protocol_name}",
            f"seed={self.seed}",
            f"run_dir={_quoted(folder)}",
            "workers={threads}",
            "videos=0",
            *config.overrides,
        )
        own = {setting.partition("=")[0] for setting in self.row.settings}
        arguments = (*(a for a in arguments if a.partition("=")[0] not in own), *self.row.settings)
        name = f"the run of {self.row.name} on {self.environment}, seed {self.seed},"
        return CommandRun(name, "egodtm_robot.train_bc", arguments, folder)

    def _place(self, config: GridConfig) -> str:
        name = ",".join((self.row.encoder, *self.row.settings)).replace("/", "_")
        if self.row.encoder in config.checkpoints:
            # Weights that were trained again are not what a finished run has measured.
            name += f"-{_digest(config.checkpoint(self.row.encoder, self.seed))[:8]}"
        return f"{name}/seed_{self.seed}"


def run_grid(config: GridConfig) -> BenchmarkTable:
    """Runs what is missing, writes the table beside the runs and returns it.

    Raises:
        RunFailedError: a run failed; its output is in ``log.txt`` in its folder.
        ResumeMismatchError: the folder's runs have another protocol or other overrides.
        WorkerDiedError: workers died again and again at one run.
        ClusterError: the cluster cannot be reached.
    """
    parent = Path(config.run_dir)
    claim_run_dir(parent, _SharedSettings(config.protocol_name, config.overrides))
    cells = [
        _Cell(row, environment, seed)
        # Seeds outermost: the first complete pass over all cells comes as early as possible.
        for seed in config.seeds
        for environment in config.environments
        for row in config.rows()
    ]
    missing = [cell.command(config) for cell in cells if cell.finished_folder(config) is None]
    if missing:
        done = len(cells) - len(missing)
        progress = Progress("benchmark", len(cells), start=done)

        def report(run: CommandRun) -> None:
            nonlocal done
            done += 1
            progress(done, str(run.folder.relative_to(parent)))

        run_commands(missing, make_runner(config.runner), report)
    table = table_of(config)
    write_atomically(parent / "table.md", f"{table.to_markdown()}\n".encode())
    text = json.dumps(table.to_json(), indent=2)
    write_atomically(parent / "table.json", f"{text}\n".encode())
    return table


def table_of(config: GridConfig) -> BenchmarkTable:
    """The table of the runs that are finished."""
    rows = config.rows()
    runs: dict[tuple[str, str], Sequence[FinishedRun]] = {}
    for row in rows:
        for environment in config.environments:
            cells = [_Cell(row, environment, seed) for seed in config.seeds]
            folders = [cell.finished_folder(config) for cell in cells]
            runs[row.name, environment] = [
                FinishedRun.load(folder) for folder in folders if folder is not None
            ]
    names = [row.name for row in rows]
    return BenchmarkTable.from_runs(names, config.environments, runs, config.reference)


def _check_name(group: str, name: str) -> None:
    known = group_names(group)
    if name not in known:
        raise UnknownNameError(group, name, known)


def _variations(vary: Sequence[str]) -> list[tuple[str, ...]]:
    """Every combination of the values that ``vary`` names, as overrides.

    Raises:
        ConfigurationError: an entry cannot be read or has no several values.
        UnknownNameError: a group has no file of that name.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(vary))
    except HydraException as error:
        raise ConfigurationError(
            f"Expected entries of vary such as policy=mlp,mlp_attention, got {list(vary)}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    choices: list[list[str]] = []
    for entry, override in zip(vary, parsed, strict=True):
        if not override.is_discrete_sweep():
            raise ConfigurationError(
                f"Expected several values in vary, such as policy=mlp,mlp_attention, got {entry!r}"
                ". What all runs have in common goes into overrides."
            )
        if override.key_or_group in _AXES:
            raise ConfigurationError(
                f"Expected vary to name none of {', '.join(_AXES)}, which have fields of their own "
                f"here or follow from them, got {entry!r}."
            )
        values = list(override.sweep_string_iterator())
        if override.key_or_group in _VARIED_GROUPS:
            for value in values:
                _check_name(override.key_or_group, value)
        choices.append([f"{override.get_key_element()}={value}" for value in values])
    return list(itertools.product(*choices))


def _quoted(path: Path) -> str:
    """A path as a value on Hydra's command line, whatever signs it holds."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


@functools.lru_cache
def _digest(checkpoint: Path) -> str:
    return hashlib.sha256(checkpoint.read_bytes()).hexdigest()
