"""Settings of a grid of runs: what differs between them, and what they have in common.

The axes of the grid are encoders, policies, environments, protocols, cameras and seeds; ``vary``
takes any other setting of ``train_bc``.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from egodtm_robot.core.configuration import Bounds, OutputFolder, RunSeed
from egodtm_robot.core.configuration.instantiation import group_names
from egodtm_robot.core.default_folder import default_folder
from egodtm_robot.core.errors import CheckpointError, ConfigurationError, UnknownNameError
from egodtm_robot.core.processes.runner import LOCAL_RUNNER, make_runner
from egodtm_robot.core.run_folder import CONFIG_FILE

AXES = {
    "encoder": "encoders",
    "policy": "policies",
    "env": "environments",
    "protocol": "protocols",
    "env.cameras": "cameras",
    "seed": "seeds",
    "run_dir": "run_dir",
}
"""Settings of ``train_bc`` that have a field of their own here."""

_ONE_FOR_ALL = ("policy", "env.cameras")
"""Of them, those that ``overrides`` may fix for all runs."""


_DEFAULT_DIR = Path("runs", "benchmark")


@dataclass
class SharedSettings:
    """What all runs of a folder have in common; a finished one counts for no others."""

    protocol: str
    overrides: list[str]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: in the table; it carries only what differs between rows.
        encoder: name of the group or of a checkpoint.
        settings: values of the axes that the benchmark was given, as overrides of ``train_bc``.
    """

    name: str
    encoder: str
    settings: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """What it would be called if everything differed between rows."""
        return " ".join((self.encoder, *self.settings))

    @property
    def folder(self) -> str:
        """Of its runs; ``compare`` names its arm by it."""
        return ",".join((self.encoder, *self.settings)).replace("/", "_")


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
            "egodtm_looks",
            "oracle",
        ]
    )
    """Names of the ``encoder`` group or of ``checkpoints``, floor first and ceiling last."""

    checkpoints: dict[str, str] = field(default_factory=dict)
    """Rows with weights of their own: a path for each name. A name of the ``encoder`` group that
    reads files, such as ``r3m``, is that encoder with the file; any other is a checkpoint of
    ``python -m pretrain.run`` under ``encoder=egodtm``. ``{seed}`` in a path stands for the run's
    seed, so that every policy seed has the checkpoint of a pretraining seed of its own."""

    policies: list[str] = field(default_factory=list)
    """Names of the ``policy`` group, each a row for every encoder. None takes the policy that goes
    with the protocol."""

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

    protocols: list[str] = field(default_factory=lambda: ["standard"])
    """Names of the ``protocol`` group. Each has a table of its own: results of different protocols
    are never put into one mean. Several have folders of their names below ``run_dir``."""

    cameras: list[list[str]] = field(default_factory=list)
    """Sets of the environment's cameras, each a row for every encoder and policy, such as
    ``[[wrist],[left,right]]``. None takes the cameras of the environment's file."""

    vary: list[str] = field(default_factory=list)
    """What else differs between rows: settings of ``train_bc`` with several values each, such as
    ``['demos.episodes=10,25','policy.hidden=[256],[256,256]']`` (with their quotes). Every
    combination is a row for every encoder, policy and set of cameras."""

    seeds: list[RunSeed] = field(default_factory=lambda: [0, 1, 2])
    """A training run each; three or more, since single seeds rank nothing."""

    reference: str | None = None
    """The row that the others are compared with: its encoder and its settings, such as
    ``pixels policy=mlp``, or as much of them as no other row has, in any order. Null takes the
    first row of ``pixels``, or the first of all where there is none."""

    stop: Literal["complete", "decided"] = "complete"
    """When it is over. ``complete``: every row has every seed. ``decided``: seed after seed, until
    each row is better or worse than the reference or level with it within ``margin``, or the seeds
    are used up. A row that is decided costs no further runs."""

    margin: Annotated[float, Bounds(0, 1)] = 0.03
    """Differences of the mean success rate below it do not matter; the tables and ``stop=decided``
    call rows level that certainly differ by less. State it before you see results."""

    alpha: Annotated[float, Bounds(0, 1)] = 0.05
    """For ``stop=decided``: the largest probability that any row without a difference is called
    better or worse, and that any row which differs by the margin is called level."""

    overrides: list[str] = field(default_factory=list)
    """Further overrides of every run, such as ``['env.visual=shifted','videos=1']`` (with their
    quotes); without the latter nothing is filmed."""

    run_dir: OutputFolder | None = None
    """The runs' parent folder, which also gets ``table.md``, ``table.json``, ``report.html`` and
    ``progress.json``. Finished runs in it count for one protocol and its overrides, which its
    ``config.yaml`` names; a further protocol has a folder of its name in it. Null:
    ``runs/benchmark``, with the overrides in its name."""

    runner: dict[str, Any] = field(default_factory=lambda: dict(LOCAL_RUNNER))
    """Where the runs are done: a name of ``configs/runner`` (``local`` or ``ray``), or an import
    path in ``_target_``. Each of ``runner.workers`` has an equal share of the machine's cores, or
    ``runner.threads``."""

    def __post_init__(self) -> None:
        """Refuse what would fail after hours.

        Raises:
            UnknownNameError: no such encoder, environment, protocol or policy, a checkpoint or a
                reference that fits no row.
            ConfigurationError: nothing to run or something twice, a reference that fits several
                rows, fewer than two rows where
                ``stop=decided``, a margin or alpha of 0 or 1, a setting in ``vary`` or
                ``overrides`` that has a field of its own, the runner is out of range, or a path
                has a placeholder other than ``{seed}``.
            CheckpointError: a checkpoint is not there.
        """
        for name in ("encoders", "environments", "protocols", "seeds"):
            if not getattr(self, name):
                raise ConfigurationError(f"Expected at least one of {name}, got none.")
        for name in ("encoders", "policies", "environments", "protocols", "cameras", "seeds"):
            values = getattr(self, name)
            if len({str(value) for value in values}) < len(values):
                raise ConfigurationError(f"Expected each of {name} once, got {values}.")
        if not all(self.cameras):
            raise ConfigurationError(
                f"Expected each of cameras to be a set of at least one, got {self.cameras}."
            )
        for name in self.checkpoints:
            if name not in self.encoders:
                raise UnknownNameError("row of the benchmark", name, self.encoders)
        _check_names("encoder", [name for name in self.encoders if name not in self.checkpoints])
        _check_names("policy", self.policies)
        _check_names("env", self.environments)
        if "recorded" in self.environments:
            raise ConfigurationError(
                "Expected environments that policies can be evaluated in, got recorded, which has "
                "no simulator. Train on recordings with train_bc."
            )
        _check_names("protocol", self.protocols)
        for seed in self.seeds:
            for name in self.checkpoints:
                path = self.checkpoint(name, seed)
                if not path.is_file():
                    raise CheckpointError(
                        f"Expected the checkpoint of {name} at {path}, found none. Name another "
                        "path, or train it with python -m pretrain.run."
                    )
        _check_overrides(self.overrides)
        if not 0 < self.margin < 1 or not 0 < self.alpha < 1:
            raise ConfigurationError(
                f"Expected margin and alpha between 0 and 1, got {self.margin} and {self.alpha}; a "
                "margin of 3 points is 0.03."
            )
        rows = [row.name for row in self.rows()]
        self.reference_row()
        if self.stop == "decided" and len(rows) < 2:
            raise ConfigurationError(
                "Expected at least two rows for stop=decided, which compares every row with the "
                f"reference, got {rows}. Name more encoders or policies, or take stop=complete."
            )
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

    def rows(self) -> list[Row]:
        """The rows of each table, top first."""
        axes = [
            [f"policy={name}" for name in self.policies],
            [f"env.cameras=[{','.join(names)}]" for names in self.cameras],
            *_variations(self.vary),
        ]
        # Settings with one value are part of a run's folder, so that another value adds its runs.
        found = [
            (encoder, settings)
            for encoder in self.encoders
            for settings in itertools.product(*(axis for axis in axes if axis))
        ]
        shared = Counter(setting for _, settings in found for setting in settings)
        rows = []
        for encoder, settings in found:
            parts = [encoder] if len(self.encoders) > 1 else []
            parts += [setting for setting in settings if shared[setting] < len(found)]
            rows.append(Row(" ".join(parts) or encoder, encoder, settings))
        return rows

    def reference_row(self) -> Row:
        """The row that the others are compared with.

        Raises:
            UnknownNameError: no row fits the reference.
            ConfigurationError: several do.
        """
        rows = self.rows()
        if self.reference is None:
            return next((row for row in rows if row.encoder == "pixels"), rows[0])
        names = [row.name for row in rows]
        whole = [row for row in rows if self.reference in (row.name, row.full_name, row.folder)]
        parts = set(self.reference.split())
        fitting = whole or [row for row in rows if parts <= {row.encoder, *row.settings}]
        if not parts or not fitting:
            raise UnknownNameError("row of the benchmark", self.reference, names)
        if len(fitting) > 1:
            raise ConfigurationError(
                f"Expected a reference that fits one row, got {self.reference!r}, which fits "
                f"{', '.join(repr(row.name) for row in fitting)}. Name one of these."
            )
        return fitting[0]

    def protocol_dir(self, protocol: str) -> Path:
        """The folder of a protocol's runs and table.

        It is :meth:`parent_dir` for a single protocol, and has the protocol's name below it for
        several, or where the parent holds another one. A protocol that one of the two was begun
        with stays where it is, so that finished runs count when protocols are added or left out.
        """
        parent = self.parent_dir()
        own = parent / protocol
        if (own / CONFIG_FILE).is_file():
            return own
        alone = self.protocols == [protocol]
        return parent if _protocol_of(parent) in (protocol, None if alone else protocol) else own

    def parent_dir(self) -> Path:
        """The folder of the whole grid: ``run_dir``, or one that the overrides name."""
        if self.run_dir is not None:
            return Path(self.run_dir)
        protocol = self.protocols[0]
        return default_folder(
            _DEFAULT_DIR, SharedSettings(protocol, self.overrides), SharedSettings(protocol, [])
        )


def _check_names(group: str, names: Sequence[str]) -> None:
    known = group_names(group)
    for name in names:
        if name not in known:
            raise UnknownNameError(group, name, known)


def _parsed(field_name: str, entries: Sequence[str], example: str) -> list[Override]:
    try:
        overrides: list[Override] = OverridesParser.create().parse_overrides(list(entries))
    except HydraException as error:
        raise ConfigurationError(
            f"Expected entries of {field_name} such as {example}, got {list(entries)}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return overrides


def _check_overrides(entries: Sequence[str]) -> None:
    for entry, override in zip(
        entries, _parsed("overrides", entries, "env.visual=shifted"), strict=True
    ):
        axis = AXES.get(override.key_or_group)
        if axis is not None and override.key_or_group not in _ONE_FOR_ALL:
            raise ConfigurationError(
                f"Expected no {override.key_or_group} in overrides, since it has a field of its "
                f"own, {axis}, got {entry!r}."
            )
        if override.is_sweep_override():
            raise ConfigurationError(
                f"Expected one value for each of overrides, got {entry!r}. What differs between "
                "rows goes into vary."
            )


def _variations(vary: Sequence[str]) -> list[list[str]]:
    """For each entry of ``vary`` its values, as overrides.

    Raises:
        ConfigurationError: an entry cannot be read, has no several values, or has a field of its
            own.
    """
    choices: list[list[str]] = []
    for entry, override in zip(vary, _parsed("vary", vary, "demos.episodes=10,25"), strict=True):
        if override.key_or_group in AXES:
            raise ConfigurationError(
                f"Expected vary to name no setting with a field of its own, got {entry!r}; "
                f"use {AXES[override.key_or_group]}."
            )
        if not override.is_discrete_sweep():
            raise ConfigurationError(
                f"Expected several values in vary, such as demos.episodes=10,25, got {entry!r}. "
                "What all runs have in common goes into overrides."
            )
        values = [f"{override.get_key_element()}={v}" for v in override.sweep_string_iterator()]
        if len(set(values)) < len(values):
            raise ConfigurationError(f"Expected each value in vary once, got {entry!r}.")
        choices.append(values)
    keys = [values[0].partition("=")[0] for values in choices]
    if len(set(keys)) < len(keys):
        raise ConfigurationError(f"Expected each setting of vary once, got {list(vary)}.")
    return choices


def _protocol_of(folder: Path) -> str | None:
    """The protocol that a folder's runs are of; None if it has none or cannot be read."""
    try:
        settings = yaml.safe_load((folder / CONFIG_FILE).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return settings.get("protocol") if isinstance(settings, dict) else None
