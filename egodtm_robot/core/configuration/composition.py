"""Compose a command's configuration through Hydra's public API, naming whatever does not fit."""

import difflib
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, OverrideParseException
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from egodtm_robot.core.configuration.schema import build, one_line, schema_of
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError

_VERSION_BASE = "1.3"
_CONFIG_PACKAGE = "configs"

ConfigT = TypeVar("ConfigT")


def compose(
    config_class: type[ConfigT], config_name: str, overrides: Sequence[str] = ()
) -> ConfigT:
    """Compose a command's configuration without running it.

    Args:
        config_class: the dataclass that types every key.
        config_name: the primary file in ``configs/``, without ``.yaml``.
        overrides: as on the command line, such as ``["env.resolution=64", "seed=3"]``.

    Raises:
        ConfigurationError: an override cannot be read, names no key or has the wrong type, or a
            required key is missing.
        UnknownNameError: a group or a field has no such choice.
    """
    with composer(config_name, schema_of(config_class)) as composing:
        (run,) = composing.runs(overrides)
        return checked(config_class, run.composed)


def checked(config_class: type[ConfigT], composed: DictConfig) -> ConfigT:
    """Make the dataclass of what was composed; see :func:`.schema.build`.

    Raises:
        ConfigurationError: the primary file does not begin with the command's schema, or a value
            does not fit.
    """
    if OmegaConf.get_type(composed) is not schema_of(config_class):
        raise ConfigurationError(
            f"Expected a primary configuration of type {config_class.__name__}, got another: its "
            "defaults list must begin with the schema of the command."
        )
    return build(config_class, composed)


@dataclass
class ComposedRun:
    """One run of a command line."""

    composed: DictConfig
    """The configuration; values may still be missing."""

    choices: dict[str, str]
    """What was chosen of each group, such as ``{"encoder": "pixels"}``."""

    name: str
    """What distinguishes the run from the others of a sweep, such as ``encoder=pixels,seed=1``;
    empty where nothing varies."""


class Composer:
    """Composes configurations of one primary file; made by :func:`composer`."""

    def __init__(self, primary: str, loader: ConfigLoader, schema: object) -> None:
        self._primary = primary
        self._loader = loader
        values = OmegaConf.to_container(OmegaConf.structured(schema))
        assert isinstance(values, dict)
        self._settings = {
            str(name)
            for name, value in values.items()
            if isinstance(value, bool | int | float | str)
        }

    def runs(self, overrides: Sequence[str], sweep: bool = False) -> list[ComposedRun]:
        """Compose every run that a command line asks for, before any of them starts.

        Args:
            overrides: as on the command line.
            sweep: whether an override may name several values, each for a run.

        Raises:
            ConfigurationError: an override cannot be read, names no key, has the wrong type, or
                sweeps where that is not allowed.
            UnknownNameError: a group has no such choice.
        """
        parsed = self._parse(overrides)
        alternatives = [_alternatives(override, sweep) for override in parsed]
        runs = []
        for lines in itertools.product(*alternatives):
            varied = sorted(
                line
                for line, override in zip(lines, parsed, strict=True)
                if override.is_sweep_override()
            )
            # A path among the values adds no levels to a folder's name.
            name = ",".join(varied).replace(os.sep, "_")
            runs.append(ComposedRun(*self._compose(self._parse(lines)), name))
        return runs

    def groups(self) -> dict[str, str]:
        """The groups of this command with their default choices; ``???`` where one must choose."""
        for source in self._loader.get_sources():
            if source.is_config(self._primary):
                content = OmegaConf.to_container(source.load_config(self._primary).config)
                assert isinstance(content, dict)
                return {
                    str(group): str(choice)
                    for entry in content.get("defaults", [])
                    if isinstance(entry, dict)
                    for group, choice in entry.items()
                    if " " not in str(group)
                }
        return {}

    def group_choices(self, group: str) -> list[str]:
        """The names that a group of configuration has; none if there is no such group."""
        return self._loader.get_group_options(group)

    def _parse(self, lines: Sequence[str]) -> list[Override]:
        try:
            parsed = OverridesParser.create(self._loader).parse_overrides(list(lines))
        except OverrideParseException as error:
            raise ConfigurationError(
                f"Cannot read {error.override!r}; expected key=value, with quotes around a value "
                f"that holds spaces or brackets ({one_line(error)})."
            ) from error
        for override in parsed:
            if not override.key_or_group:
                raise ConfigurationError(
                    f"Cannot read {override.input_line!r}; expected key=value without spaces."
                )
            if override.is_hydra_override():
                raise ConfigurationError(
                    f"Expected a key of the command, got {override.key_or_group!r}: settings of "
                    "Hydra itself have no effect here. Folders of your own configurations are "
                    "named with --config-dir."
                )
        return parsed

    def _compose(self, overrides: list[Override]) -> tuple[DictConfig, dict[str, str]]:
        # Hydra would take a setting that another command has a group of the same name for as a
        # choice of that group: ``export format=onnx`` beside ``convert format=lerobot``.
        alike = [override for override in overrides if self._is_called_as_a_group(override)]
        overrides = [override for override in overrides if override not in alike]
        choices = self._checked_choices(overrides)
        lines = [str(override.input_line) for override in overrides]
        if any(override.is_add() or override.is_force_add() for override in overrides):
            # Hydra would add a key even where a dataclass says which keys there are.
            self._check_keys(overrides, choices)
        try:
            composed = hydra.compose(self._primary, lines, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            self._check_keys(overrides, choices)
            cause = (
                error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
            )
            raise ConfigurationError(one_line(cause)) from error
        chosen = {str(group): str(name) for group, name in composed.hydra.runtime.choices.items()}
        with open_dict(composed):
            del composed["hydra"]
        for override in alike:
            try:
                OmegaConf.update(composed, override.key_or_group, override.value(), merge=False)
            except OmegaConfBaseException as error:
                raise ConfigurationError(one_line(error)) from error
        return composed, {group: chosen[group] for group in chosen if "hydra/" not in group}

    def _is_called_as_a_group(self, override: Override) -> bool:
        """Whether a plain setting of the command is set whose name is a group of other commands."""
        name = override.key_or_group
        return (
            name in self._settings and bool(self.group_choices(name)) and not override.is_delete()
        )

    def _checked_choices(self, overrides: list[Override]) -> list[str]:
        """The overrides that choose from groups, as they were written."""
        choices = []
        for override in overrides:
            known = self.group_choices(override.key_or_group)
            if known:
                _check_choice(override, known)
                choices.append(str(override.input_line))
        chosen = {override.key_or_group for override in overrides}
        for group, default in self.groups().items():
            if default == "???" and group not in chosen:
                raise ConfigurationError(
                    f"No value for {group}; choose one, {group}=NAME, of: "
                    f"{', '.join(self.group_choices(group))}."
                )
        return choices

    def _check_keys(self, overrides: list[Override], choices: list[str]) -> None:
        """Name the override whose key is not there, if a composition failed because of one."""
        own = self.groups()
        for override in overrides:
            group = override.key_or_group
            if group not in own and self.group_choices(group):
                raise ConfigurationError(
                    f"Expected a setting of this command, got a choice of {group}, which it has no "
                    f"group for. Its groups are: {', '.join(own) or 'none'}. --help shows them and "
                    "its settings."
                )
        try:
            # The groups decide which keys there are.
            base = hydra.compose(self._primary, choices)
        except (HydraException, OmegaConfBaseException):
            return
        for override in overrides:
            if str(override.input_line) not in choices:
                _check_key(base, override)


class _UserFolder(SearchPathPlugin):
    """Has Hydra look into the folder of ``--config-dir`` behind our own configurations.

    Hydra's setting ``hydra.searchpath`` would not do: it does not hold for the primary file.
    """

    folder: ClassVar[Path | None] = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if self.folder is not None:
            search_path.append("command-line", f"file://{self.folder}")


@contextmanager
def composer(
    config_name: str,
    schema: object,
    *,
    primary: str | None = None,
    config_dir: str | None = None,
) -> Iterator[Composer]:
    """Hydra over our configurations and, behind them, those of a folder of the user's.

    Args:
        config_name: of the command.
        schema: the dataclass, or nested dictionary, that defaults lists call
            ``<config_name>_schema``.
        primary: the primary file, without ``.yaml``; by default that of the command's name.
        config_dir: the user's folder.

    Raises:
        ConfigurationError: ``config_dir`` is no folder.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigurationError(f"Expected --config-dir to be a folder, got {config_dir!r}.")
    ConfigStore.instance().store(name=f"{config_name}_schema", node=schema)
    outer = get_gh_backup()
    GlobalHydra.instance().clear()
    _UserFolder.folder = None if config_dir is None else Path(config_dir).absolute()
    Plugins.instance().register(_UserFolder)
    try:
        with hydra.initialize_config_module(_CONFIG_PACKAGE, version_base=_VERSION_BASE):
            loader = GlobalHydra.instance().config_loader()
            yield Composer(primary or config_name, loader, schema)
    finally:
        _UserFolder.folder = None
        restore_gh_from_backup(outer)


def _alternatives(override: Override, sweep: bool) -> list[str]:
    """The plain overrides that one stands for, as they would be written."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if not sweep:
        values = str(override.input_line).partition("=")[2]
        raise ConfigurationError(
            f"{override.key_or_group} has several values ({values}); write "
            f"{override.key_or_group}=[{values}] for a list, or add -m for a run with each."
        )
    if not override.is_discrete_sweep():
        raise ConfigurationError(
            f"{override.key_or_group} is swept over an interval; name its values instead."
        )
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _check_choice(override: Override, known: list[str]) -> None:
    if override.is_delete():
        return
    value = override.value()
    if isinstance(value, dict):
        raise ConfigurationError(
            f"{override.key_or_group} takes a name; set its keys one by one, such as "
            f"{override.key_or_group}.KEY=VALUE."
        )
    for name in value if isinstance(value, list) else [value]:
        if name is not None and str(name) not in known:
            raise UnknownNameError(override.key_or_group, str(name), known)


def _check_key(base: DictConfig, override: Override) -> None:
    """Refuse a key that the configuration does not have, with the nearest that it has."""
    adds = override.is_add() or override.is_force_add()
    node: Any = base
    for part in override.key_or_group.split("."):
        if not isinstance(node, DictConfig):
            return  # a list's element, or a key below a value: the composition says what is wrong
        # A key without a value yet (???) counts as absent for `in`, but not among the keys.
        if part not in node.keys():  # noqa: SIM118
            # Nodes that no dataclass types, such as a user's own encoder's, take added keys.
            if OmegaConf.get_type(node) is dict and adds:
                return
            raise _unknown_key(base, node, override.key_or_group)
        if OmegaConf.is_missing(node, part) or OmegaConf.is_interpolation(node, part):
            return
        node = node[part]


def _unknown_key(base: DictConfig, node: DictConfig, key: str) -> ConfigurationError:
    known = list(_paths(OmegaConf.to_container(base)))
    close = difflib.get_close_matches(key, known, n=1)
    if not close:
        last = key.rpartition(".")[2]
        close = [path for path in known if path.rpartition(".")[2] == last][:1]
    hint = f" Did you mean {close[0]!r}?" if close else ""
    if OmegaConf.get_type(node) is dict:
        hint += f" To add a key of your own here, write +{key}=VALUE."
    there = ", ".join(str(name) for name in node) or "none"
    return ConfigurationError(f"Unknown key {key!r}; expected one of those there: {there}.{hint}")


def _paths(node: Any, prefix: str = "") -> Iterator[str]:
    """The dotted keys of nested dictionaries."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield f"{prefix}{name}"
            yield from _paths(child, f"{prefix}{name}.")
