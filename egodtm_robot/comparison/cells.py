"""The cells of a grid: one training run each, its folder, its command and whether it is done.

A cell's folder is ``<environment>/<row>/seed_<seed>`` below its protocol's, where a row is an
encoder together with its own settings. Finished runs are not repeated, so an interrupted grid goes
on where it was, and one more row costs its own runs only.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from egodtm_robot.comparison.command_runs import CommandRun
from egodtm_robot.comparison.grid_config import GridConfig, Row
from egodtm_robot.core.configuration import compose
from egodtm_robot.core.configuration.instantiation import group_config, group_names
from egodtm_robot.core.errors import ConfigurationError, EgoDTMRobotError
from egodtm_robot.encoders import check_encoder
from egodtm_robot.evaluation.results import RESULTS_FILE
from egodtm_robot.learning.cloning_run import TrainBCConfig


@dataclass(frozen=True)
class Cell:
    """A run of the grid.

    Attributes:
        protocol: name of the group.
        row: of the protocol's table.
        environment: name of the group.
        seed: of the run.
    """

    protocol: str
    row: Row
    environment: str
    seed: int

    def folder(self, config: GridConfig) -> Path:
        """Where the run goes."""
        return config.protocol_dir(self.protocol) / self.environment / self._place(config)

    def finished_folder(self, config: GridConfig) -> Path | None:
        """Where the results of the run are; None if it is not finished.

        A folder may bear another name of the environment (``microwave`` for
        ``franka_kitchen_microwave``): results count by the environment that they name.
        """
        folder = self.folder(config)
        if (folder / RESULTS_FILE).is_file():
            return folder
        parent = config.protocol_dir(self.protocol)
        for file in sorted(parent.glob(f"*/{self._place(config)}/{RESULTS_FILE}")):
            if json.loads(file.read_bytes()).get("env") == self.environment:
                return file.parent
        return None

    def command(self, config: GridConfig) -> CommandRun:
        """How the run is started."""
        folder = self.folder(config)
        choices = self._choices(config)
        place: tuple[str, ...] = (f"run_dir={_quoted(folder)}", "workers={threads}")
        own = {setting.partition("=")[0] for setting in self.row.settings}
        place = tuple(setting for setting in place if setting.partition("=")[0] not in own)
        name = f"the run of {self.row.name} on {self.environment}, seed {self.seed},"
        if len(config.protocols) > 1:
            name = f"{name} protocol {self.protocol},"
        return CommandRun(name, "egodtm_robot.train_bc", (*choices, *place), folder)

    def check(self, config: GridConfig) -> None:
        """Refuse what the run would refuse once it had begun.

        Raises:
            EgoDTMRobotError: ``train_bc`` does not take these settings, or the encoder's weights
                are not there.
        """
        _check_settings(self._choices(config))

    def _choices(self, config: GridConfig) -> tuple[str, ...]:
        """The settings that decide the run."""
        encoder = [f"encoder={self.row.encoder}"]
        if self.row.encoder in config.checkpoints:
            path = config.checkpoint(self.row.encoder, self.seed)
            encoder = [
                f"encoder={_encoder_of(self.row.encoder)}",
                f"encoder.checkpoint={_quoted(path)}",
            ]
        common = (
            f"env={self.environment}",
            *encoder,
            f"protocol={self.protocol}",
            f"seed={self.seed}",
            "videos=0",
            *config.overrides,
        )
        # What a row varies takes the place of what all runs have.
        own = {setting.partition("=")[0] for setting in self.row.settings}
        kept = [setting for setting in common if setting.partition("=")[0] not in own]
        return (*kept, *self.row.settings)

    def _place(self, config: GridConfig) -> str:
        name = self.row.folder
        if self.row.encoder in config.checkpoints:
            # Weights that were trained again are not what a finished run has measured.
            name += f"-{_digest(config.checkpoint(self.row.encoder, self.seed))[:8]}"
        return f"{name}/seed_{self.seed}"


def _encoder_of(row: str) -> str:
    """The encoder that reads a row's checkpoint: that of the row's name, if it reads files."""
    reads = row in group_names("encoder") and "checkpoint" in group_config("encoder", row)
    return row if reads else "egodtm"


def cells_of(config: GridConfig) -> list[Cell]:
    """All cells, in the order in which they are run.

    Seeds come outermost: the first complete pass over the grid is there as early as possible.
    """
    return [
        Cell(protocol, row, environment, seed)
        for seed in config.seeds
        for protocol in config.protocols
        for environment in config.environments
        for row in config.rows()
    ]


def check_cells(cells: Sequence[Cell], config: GridConfig) -> None:
    """Refuse what any of the runs would refuse, before the first begins.

    Raises:
        ConfigurationError: ``train_bc`` does not take the settings of a run, which is named.
    """
    # Seeds change nothing of it: they are numbers, and checkpoints are looked for beforehand.
    for cell in {(c.protocol, c.row, c.environment): c for c in cells}.values():
        try:
            cell.check(config)
        except EgoDTMRobotError as error:
            raise ConfigurationError(
                f"Expected settings that train_bc takes for {cell.row.name} on {cell.environment} "
                f"with protocol {cell.protocol}: {error}"
            ) from error


@functools.lru_cache(maxsize=1024)
def _check_settings(settings: tuple[str, ...]) -> None:
    check_encoder(compose(TrainBCConfig, "train_bc", settings).encoder)


def _quoted(path: Path) -> str:
    """A path as a value on Hydra's command line, whatever signs it holds."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


@functools.lru_cache
def _digest(checkpoint: Path) -> str:
    return hashlib.sha256(checkpoint.read_bytes()).hexdigest()
