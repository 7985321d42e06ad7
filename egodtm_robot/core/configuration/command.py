"""Turn a function of a configuration dataclass into a command."""

import argparse
import functools
import inspect
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from omegaconf import OmegaConf

from egodtm_robot.core.configuration.composition import checked, composer
from egodtm_robot.core.configuration.reference import module_reference, reference_text, split_paths
from egodtm_robot.core.configuration.schema import output_paths, schema_of
from egodtm_robot.core.configuration.shadowing import check_shadowing
from egodtm_robot.core.errors import ConfigurationError, EgoDTMRobotError, OutputPathError

EXIT_USER_ERROR = 2
"""Exit code of a command that stops because of something the user can put right."""

EXIT_NOBODY_READS = 141
"""Exit code of a command whose output was closed, as shells report it of a process that got
SIGPIPE."""

ConfigT = TypeVar("ConfigT")


def command(
    config_class: type[ConfigT], config_name: str, positional: str | None = None
) -> Callable[[Callable[[ConfigT], None]], Callable[..., None]]:
    """Turn a function of a configuration dataclass into a command.

    Args:
        config_class: the dataclass that types every key; its ``__post_init__`` may raise an
            :class:`EgoDTMRobotError` for values that types do not exclude.
        config_name: the primary file in ``configs/``, without ``.yaml``.
        positional: a field, a list of paths, that takes the arguments that are no settings.

    Returns:
        A decorator. The decorated function takes the command line's arguments, by default those
        of the process. Errors that the user can put right are printed without a traceback and
        end the process with exit code 2.
    """

    def decorate(main: Callable[[ConfigT], None]) -> Callable[..., None]:
        @functools.wraps(main)
        def run(arguments: Sequence[str] | None = None) -> None:
            given = list(sys.argv[1:] if arguments is None else arguments)
            with_clean_errors(lambda: _run(main, config_class, config_name, positional, given))

        # The wrapper takes arguments of its own; the signature of main would mislead.
        del run.__wrapped__
        return run

    return decorate


def with_clean_errors(function: Callable[[], Any]) -> Any:
    """Call a function; print an :class:`EgoDTMRobotError` in one line and exit with code 2.

    A reader of the output that has seen enough, such as ``head``, ends it without a word.
    """
    try:
        result = function()
        sys.stdout.flush()
        return result
    except EgoDTMRobotError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        raise SystemExit(EXIT_USER_ERROR) from error
    except BrokenPipeError as error:
        if not _nobody_reads_on():
            raise
        # What is left of the output would be written, and fail, once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_NOBODY_READS) from error


def _nobody_reads_on() -> bool:
    """Whether it is our own output that was closed, and not a pipe to another process."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    except (OSError, ValueError):
        return False  # not a file
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def command_line(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the options that every command has, and the overrides beside them.

    Args:
        arguments: of the command line, without the program.

    Raises:
        ConfigurationError: an option is unknown or lacks its value.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--cfg", "-c", choices=["job"])
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--config-dir", "-cd")
    return parser.parse_intermixed_args(arguments)


def answer_help(module: Path, arguments: Sequence[str]) -> None:
    """Print the settings of a command and end the process, if ``--help`` is among the arguments.

    Args:
        module: the file that the command is defined in; it is read, not imported.
        arguments: of the command line, without the program.

    Raises:
        SystemExit: after the help, with code 0.
        ConfigurationError: the arguments beside ``--help`` do not fit.
    """
    if not {"--help", "-h"}.intersection(arguments):
        return
    given = command_line(arguments)
    reference = module_reference(
        module, given.overrides, primary=given.config_name, config_dir=given.config_dir
    )
    print(reference_text(reference))
    raise SystemExit(0)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(
            f"Cannot read the command line: {message}. Options are --help, --cfg job, --resolve, "
            "--multirun (-m), --config-name NAME and --config-dir FOLDER; settings are key=value."
        )


def _run(
    main: Callable[[ConfigT], None],
    config_class: type[ConfigT],
    config_name: str,
    positional: str | None,
    arguments: list[str],
) -> None:
    """Compose and check every run that the command line asks for, then do them in turn."""
    check_shadowing()
    answer_help(Path(inspect.getfile(main)), arguments)
    given = command_line(arguments)
    overrides: list[str] = given.overrides
    paths: list[str] = []
    if positional is not None:
        overrides, paths = split_paths(overrides)
    with composer(
        config_name,
        schema_of(config_class),
        primary=given.config_name,
        config_dir=given.config_dir,
    ) as composing:
        runs = composing.runs(overrides, sweep=given.multirun)
    if paths:
        for run in runs:
            # Set here rather than written as an override, which would need Hydra's quotes.
            OmegaConf.update(run.composed, str(positional), paths, merge=False)
    if given.cfg:
        for run in runs:
            print(OmegaConf.to_yaml(run.composed, resolve=given.resolve))
        return
    configs = [checked(config_class, run.composed) for run in runs]
    for number, (run, config) in enumerate(zip(runs, configs, strict=True), start=1):
        if given.multirun:
            print(f"[{number}] {run.name}", flush=True)
            _name_run_dir(config, run.name)
        with _named_output_errors(config):
            main(config)


@contextmanager
def _named_output_errors(config: object) -> Iterator[None]:
    """Name the setting if the operating system refuses to write where the configuration says.

    Raises:
        OutputPathError: in place of an OSError about an output path or a folder on the way there.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, EgoDTMRobotError) or not isinstance(error.filename, str):
            raise
        refused = Path(error.filename).absolute()
        for key, path in output_paths(config):
            path = path.absolute()
            if refused.is_relative_to(path) or path.is_relative_to(refused):
                raise OutputPathError(
                    f"Cannot write to {key}={path}: {error.strerror} ({refused}). Choose another "
                    "place."
                ) from error
        raise


def _name_run_dir(config: Any, name: str) -> None:
    """Give a run of a sweep its folder below the one that the command line names."""
    if getattr(config, "run_dir", None) is not None:
        config.run_dir = str(Path(config.run_dir).absolute() / name)
