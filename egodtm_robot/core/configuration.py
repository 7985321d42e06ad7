"""The base of every command: typed Hydra configuration with errors that fit on one line.

A command is a function of one dataclass::

    @dataclass
    class CollectConfig:
        env: EnvironmentConfig = field(default_factory=EnvironmentConfig)
        episodes: int = 50

    @command(CollectConfig, "collect")
    def main(config: CollectConfig) -> None: ...

    if __name__ == "__main__":
        main()

beside a file ``configs/collect.yaml`` whose defaults list begins with the schema that
:func:`command` registers under the command's name and ``_schema``::

    defaults:
      - collect_schema
      - env: franka_kitchen_microwave
      - _self_

Everything of Hydra's command line works (``-m``, ``--cfg job``, ``--help``, ``--config-dir``). It
writes nothing on its own account: no ``outputs/`` folder, no log file, no change of directory. A
field ``run_dir`` names the folder of a run; in a multirun it is the parent, and each run gets a
folder named by what was varied, such as ``encoder=pixels,seed=1``. Where it is null, the command
finds a name of its own for each run.

The module of a command begins, before it imports what may be shadowed, with::

    if __name__ == "__main__":
        from egodtm_robot.core.startup import prepare_command

        prepare_command()
"""

import difflib
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import hydra
import yaml
from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from egodtm_robot.core.errors import ConfigurationError, EgoDTMRobotError, UnknownNameError
from egodtm_robot.core.shadowing import check_shadowing

_VERSION_BASE = "1.3"
_CONFIG_PACKAGE = "configs"
EXIT_USER_ERROR = 2
"""Exit code of a command that stops because of something the user can put right."""

ConfigT = TypeVar("ConfigT")


def _folder_name(text: object) -> str:
    """Make one folder's name of an override string: a path among the values adds no levels."""
    return str(text).replace(os.sep, "_")


OmegaConf.register_new_resolver("folder_name", _folder_name, replace=True)


def command(
    config_class: type[ConfigT], config_name: str
) -> Callable[[Callable[[ConfigT], None]], Callable[..., None]]:
    """Turn a function of a configuration dataclass into a command.

    Args:
        config_class: the dataclass that types every key; its ``__post_init__`` may raise an
            :class:`EgoDTMRobotError` for values that types do not exclude.
        config_name: the primary file in ``configs/``, without ``.yaml``.

    Returns:
        A decorator. The decorated function takes the command line's arguments, by default those
        of the process. Errors that the user can put right are printed without a traceback and
        end the process with exit code 2.
    """
    ConfigStore.instance().store(name=f"{config_name}_schema", node=config_class)

    def decorate(main: Callable[[ConfigT], None]) -> Callable[..., None]:
        @functools.wraps(main)
        def job(cfg: DictConfig) -> None:
            # Hydra keeps what a job raises and prints it its own way; SystemExit passes through.
            with_clean_errors(lambda: main(_job_config(cfg, config_class)))

        @functools.wraps(main)
        def run(arguments: Sequence[str] | None = None) -> None:
            given = list(sys.argv[1:] if arguments is None else arguments)
            settings = with_clean_errors(lambda: _check(given, config_class, config_name))
            with tempfile.TemporaryDirectory() as scratch:
                settings = [setting.replace("{scratch}", scratch) for setting in settings]
                argv = sys.argv
                sys.argv = [argv[0], *given, *settings]
                try:
                    hydra.main(
                        version_base=_VERSION_BASE,
                        config_path=f"pkg://{_CONFIG_PACKAGE}",
                        config_name=config_name,
                    )(job)()
                finally:
                    sys.argv = argv

        # The wrapper takes arguments of its own; the signature of main would mislead.
        del run.__wrapped__
        return run

    return decorate


def compose(
    config_class: type[ConfigT], config_name: str, overrides: Sequence[str] = ()
) -> ConfigT:
    """Compose a command's configuration without running it.

    Args:
        config_class: as for :func:`command`.
        config_name: as for :func:`command`.
        overrides: as on the command line, such as ``["env.resolution=64", "seed=3"]``.

    Raises:
        ConfigurationError: an override cannot be read, names no key or has the wrong type, or a
            required key is missing.
        UnknownNameError: a group has no such choice.
    """
    ConfigStore.instance().store(name=f"{config_name}_schema", node=config_class)
    with _composer() as loader:
        parsed = _parse(list(overrides))
        _refuse_sweeps(parsed)
        return _to_object(_compose_checked(loader, config_name, parsed), config_class)


def to_yaml(config: object) -> str:
    """The text of ``config.yaml`` for a configuration dataclass."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def from_yaml(config_class: type[ConfigT], text: str) -> ConfigT:
    """Read back what :func:`to_yaml` wrote.

    Raises:
        ConfigurationError: the text is not YAML or does not fit the dataclass.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(config_class), yaml.safe_load(text))
        return cast(ConfigT, OmegaConf.to_object(merged))
    except (OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        if isinstance(error, EgoDTMRobotError):
            raise
        raise ConfigurationError(
            f"Expected a configuration of type {config_class.__name__}: {_one_line(error)}"
        ) from error


def with_clean_errors(function: Callable[[], Any]) -> Any:
    """Call a function; print an :class:`EgoDTMRobotError` in one line and exit with code 2."""
    try:
        return function()
    except EgoDTMRobotError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        raise SystemExit(EXIT_USER_ERROR) from error


def _job_config(cfg: DictConfig, config_class: type[ConfigT]) -> ConfigT:
    """The dataclass of one job; in a multirun its ``run_dir`` is the job's own folder."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        if cfg.get("run_dir") is not None:
            cfg.run_dir = hydra_config.runtime.output_dir
        print(f"[{hydra_config.job.num + 1}] {hydra_config.job.override_dirname}", flush=True)
    return _to_object(cfg, config_class)


def _to_object(cfg: DictConfig, config_class: type[ConfigT]) -> ConfigT:
    missing = sorted(str(key) for key in OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigurationError(
            f"No value for {', '.join(missing)}; give one, such as {missing[0]}=VALUE."
        )
    try:
        config = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise ConfigurationError(_one_line(error)) from error
    if not isinstance(config, config_class):
        raise TypeError(
            f"The primary configuration composes to {type(config).__name__}, not "
            f"{config_class.__name__}: its defaults list must begin with the schema."
        )
    return config


def _check(arguments: list[str], config_class: type[object], config_name: str) -> list[str]:
    """Refuse what Hydra would answer with a traceback or several lines.

    Returns:
        The settings of Hydra itself to put behind the user's arguments.
    """
    check_shadowing()
    args = get_args_parser().parse_args(arguments)
    if args.hydra_help or args.shell_completion or args.info is not None:
        return []
    with _composer(args.config_dir) as loader:
        overrides = _parse(args.overrides)
        if not args.multirun:
            _refuse_sweeps(overrides)
        composed = [
            _compose_checked(loader, config_name, alternative)
            for alternative in _alternatives(overrides)
        ]
    if args.help or args.cfg:
        return []  # these show a configuration that may still lack something
    configs = [_to_object(cfg, config_class) for cfg in composed]
    varied = {override.key_or_group for override in overrides if override.is_sweep_override()}
    constant = [
        override.get_key_element()
        for override in overrides
        if override.key_or_group not in varied and not override.is_hydra_override()
    ]
    names_run_dir = getattr(configs[0], "run_dir", None) is not None
    settings = {
        "hydra.run.dir": ".",
        "hydra.sweep.dir": "'${run_dir}'" if names_run_dir else "'{scratch}'",
        "hydra.sweep.subdir": "'${folder_name:${hydra.job.override_dirname}}'",
        "hydra.job.config.override_dirname.exclude_keys": f"[{','.join(map(repr, constant))}]",
        "hydra.output_subdir": "null",
        "hydra.job.chdir": "false",
        "hydra/job_logging": "none",
        "hydra/hydra_logging": "none",
    }
    chosen = {override.key_or_group for override in overrides}
    return [f"{key}={value}" for key, value in settings.items() if key not in chosen]


@contextmanager
def _composer(config_dir: str | None = None) -> Iterator[ConfigLoader]:
    """Hydra over our configurations and, before them, those of ``--config-dir``."""
    version.setbase(_VERSION_BASE)
    search_path = create_config_search_path(f"pkg://{_CONFIG_PACKAGE}")
    if config_dir is not None:
        folder = Path(config_dir).absolute()
        if not folder.is_dir():
            raise ConfigurationError(f"Expected --config-dir to be a folder, got {config_dir!r}.")
        anchor = SearchPathQuery(provider="schema")
        search_path.prepend(provider="command-line", path=f"file://{folder}", anchor=anchor)
    before = get_gh_backup()
    GlobalHydra.instance().clear()
    try:
        yield Hydra.create_main_hydra2("egodtm_robot", search_path).config_loader
    finally:
        restore_gh_from_backup(before)


def _parse(arguments: list[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(arguments)
    except OverrideParseException as error:
        raise ConfigurationError(
            f"Cannot read {error.override!r}; expected key=value, with quotes around a value "
            f"that holds spaces or brackets ({_one_line(error)})."
        ) from error


def _refuse_sweeps(overrides: list[Override]) -> None:
    for override in overrides:
        if override.is_sweep_override():
            values = str(override.input_line).partition("=")[2]
            raise ConfigurationError(
                f"{override.key_or_group} has several values ({values}); write "
                f"{override.key_or_group}=[{values}] for a list, or add -m for a run with each."
            )


def _alternatives(overrides: list[Override]) -> Iterator[list[Override]]:
    """Plain override lists in which each value of each sweep occurs at least once."""
    plain: list[list[Override]] = []
    for override in overrides:
        if override.is_discrete_sweep():
            key = override.get_key_element()
            plain.append(_parse([f"{key}={value}" for value in override.sweep_string_iterator()]))
        elif override.is_sweep_override():
            raise ConfigurationError(
                f"{override.key_or_group} is swept over an interval; name its values instead."
            )
        else:
            plain.append([override])
    first = [values[0] for values in plain]
    yield first
    for position, values in enumerate(plain):
        for value in values[1:]:
            yield [*first[:position], value, *first[position + 1 :]]


def _compose_checked(
    loader: ConfigLoader, config_name: str, overrides: list[Override]
) -> DictConfig:
    """Compose inside an initialised Hydra, naming whatever does not fit.

    Args:
        loader: of that Hydra.
        config_name: the primary file.
        overrides: without sweeps.
    """
    own = [override for override in overrides if not override.is_hydra_override()]
    lines = [str(override.input_line) for override in overrides]
    choices = []
    for override in own:
        known = loader.get_group_options(override.key_or_group)
        if known:
            _check_choice(override, known)
            choices.append(str(override.input_line))
    try:
        # The groups decide which keys there are, so they are composed before keys are looked up.
        base = hydra.compose(config_name, choices)
        for override in own:
            if override.input_line not in choices:
                _check_key(base, override)
        return hydra.compose(config_name, lines)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        raise ConfigurationError(_one_line(cause)) from error


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
    node: Any = base
    for part in override.key_or_group.split("."):
        if not isinstance(node, DictConfig):
            return  # a list's element, or a key below a value: the composition says what is wrong
        # A key without a value yet (???) counts as absent for `in`, but not among the keys.
        if part not in node.keys():  # noqa: SIM118
            # Nodes that no dataclass types, such as a user's own encoder's, take added keys.
            if OmegaConf.get_type(node) is dict and (override.is_add() or override.is_force_add()):
                return
            raise _unknown_key(base, node, override.key_or_group)
        if OmegaConf.is_missing(node, part):
            return
        node = node._get_node(part) if OmegaConf.is_interpolation(node, part) else node[part]


def _unknown_key(base: DictConfig, node: DictConfig, key: str) -> ConfigurationError:
    known = list(_paths(base))
    close = difflib.get_close_matches(key, known, n=1)
    if not close:
        last = key.rpartition(".")[2]
        close = [path for path in known if path.rpartition(".")[2] == last][:1]
    hint = f" Did you mean {close[0]!r}?" if close else ""
    if OmegaConf.get_type(node) is dict:
        hint += f" To add a key of your own here, write +{key}=VALUE."
    there = ", ".join(str(name) for name in node) or "none"
    return ConfigurationError(f"Unknown key {key!r}; expected one of those there: {there}.{hint}")


def _paths(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for name in node:
        path = f"{prefix}{name!s}"
        yield path
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not (child._is_none() or child._is_missing()):
            yield from _paths(child, f"{path}.")


def _one_line(error: BaseException) -> str:
    """The first line of an error of Hydra or OmegaConf, with the key that it is about."""
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    key = getattr(error, "full_key", None)
    return f"{key}: {first}" if key else first
