"""The settings of a command: its groups and fields, with type, default and meaning.

The source is the code: field docstrings, type hints, the ``Args`` of constructors that
``_target_`` names, and the files in ``configs/``. Nothing is imported for it, so that ``--help``
answers at once. ``--help`` prints :func:`reference_text`; the pages of the documentation are
:func:`reference_markdown`.
"""

import os
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from egodtm_robot.core.configuration.composition import ComposedRun, composer
from egodtm_robot.core.configuration.source_code import (
    Parameter,
    SourceClass,
    SourceModule,
    find_class,
    read_module,
)
from egodtm_robot.core.errors import UnknownNameError

_ROOT = Path(__file__).resolve().parents[3]
_COMMAND_FOLDERS = ("egodtm_robot", "pretrain")

OPTIONS = (
    ("--help", "Show this text; with choices of groups, as in encoder=pixels --help, for those."),
    ("--cfg job", "Print the composed configuration as YAML and do nothing else."),
    ("--resolve", "With --cfg: print the values that interpolations lead to."),
    ("-m, --multirun", "Do a run with each value of settings such as seed=0,1,2."),
    ("--config-dir FOLDER", "Look for configuration files in a folder of yours as well."),
    ("--config-name NAME", "Start from another primary file, such as one in that folder."),
)
"""The options of every command."""


@dataclass(frozen=True)
class Group:
    """A group of configuration that a command chooses from, as in ``encoder=pixels``."""

    name: str
    """The group."""

    choices: tuple[str, ...]
    """The names of its files."""

    chosen: str
    """The choice that :attr:`CommandReference.settings` shows; ``???`` if one must choose."""


@dataclass(frozen=True)
class Setting:
    """A key of the configuration."""

    key: str
    """The whole key, such as ``env.resolution``."""

    type: str
    """In words, such as ``int or null``; ``settings`` for the head of those below it."""

    choices: tuple[str, ...]
    """The values that it may have; empty where they are not few."""

    constraint: str
    """What a value must satisfy, such as ``at least 1``; empty for nothing."""

    default: str
    """The value that it has with these choices, as YAML writes it; ``???`` if one must give it."""

    meaning: str
    """A paragraph; empty where the code has none."""

    @property
    def is_head(self) -> bool:
        """Whether it is the head of further settings, with no value itself."""
        return self.type == "settings"


@dataclass(frozen=True)
class CommandReference:
    """All settings of a command."""

    name: str
    """Of its primary file, such as ``train_bc``."""

    module: str
    """As ``python -m`` knows it."""

    description: str
    """The docstring of the module."""

    examples: tuple[str, ...]
    """Command lines."""

    groups: tuple[Group, ...]
    """What it chooses from."""

    settings: tuple[Setting, ...]
    """Every key, in the order of the configuration; heads before what is below them."""

    positional: str | None = None
    """The setting that takes the paths on the command line; None where there are none."""

    @property
    def usage(self) -> str:
        """The command line in general."""
        paths = "" if self.positional is None else "[PATH ...] "
        return f"python -m {self.module} {paths}[KEY=VALUE ...] [OPTION ...]"


def split_paths(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The settings among arguments of a command line, and the paths.

    A path is an argument at whose place something lies, that has no ``=``, or in which a slash
    comes before the first ``=``, as in ``runs/light/pixels,policy=mlp``.
    """
    settings: list[str] = []
    paths: list[str] = []
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        # os.path's answer is no to names that are too long, where pathlib's is an error.
        is_path = not equals or "/" in key or os.path.exists(argument)
        (paths if is_path else settings).append(argument)
    return settings, paths


def command_modules() -> dict[str, str]:
    """The import path of each command by its name."""
    return {name: module for name, module, _ in _commands()}


def configuration_reference(command_name: str, overrides: Sequence[str] = ()) -> CommandReference:
    """All settings of a command.

    Args:
        command_name: such as ``train_bc``.
        overrides: choices and values to show, such as ``["encoder=pixels"]``.

    Raises:
        UnknownNameError: there is no such command.
        ConfigurationError: an override does not fit.
    """
    commands = {name: path for name, _, path in _commands()}
    if command_name not in commands:
        raise UnknownNameError("command", command_name, tuple(commands))
    return module_reference(commands[command_name], overrides)


def module_reference(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    primary: str | None = None,
    config_dir: str | None = None,
) -> CommandReference:
    """As :func:`configuration_reference`, for the command in a file.

    Args:
        path: of the module.
        overrides: choices and values to show.
        primary: the primary file of the configuration, if not that of the command.
        config_dir: a folder of further configuration files.
    """
    module = read_module(path, _package(path))
    name, schema, positional = _declared_command(module)
    if positional is not None:
        overrides, _ = split_paths(overrides)
    with composer(name, schema.defaults(), primary=primary, config_dir=config_dir) as composing:
        defaults = composing.groups()
        given = {override.partition("=")[0] for override in overrides}
        open_groups = [group for group in defaults if defaults[group] == "???"]
        without = [f"~{group}" for group in open_groups if group not in given]
        (run,) = composing.runs([*overrides, *without])
        groups = tuple(
            Group(group, tuple(composing.group_choices(group)), run.choices.get(group, "???"))
            for group in defaults
        )
    return CommandReference(
        name=name,
        module=_import_path(path),
        description=module.docstring,
        examples=_examples(name),
        groups=groups,
        settings=tuple(_settings(schema, run)),
        positional=positional,
    )


def reference_text(reference: CommandReference, width: int | None = None) -> str:
    """The text of ``--help``.

    Args:
        reference: what it says.
        width: columns of a line; by default those of the terminal, 100 at most.
    """
    width = width or min(100, shutil.get_terminal_size().columns)
    lines = [reference.usage, ""]
    lines += [_plain(reference.description), ""]
    if reference.examples:
        lines += ["Examples:", *(f"  {example}" for example in reference.examples), ""]
    lines.append("Options:")
    for option, meaning in OPTIONS:
        lines += _hanging(f"  {option:<22}", meaning, width)
    if reference.groups:
        lines += ["", "Groups, of which one chooses with GROUP=NAME (* is shown below):"]
        longest = max(len(group.name) for group in reference.groups)
        for group in reference.groups:
            names = ", ".join(
                f"{choice}*" if choice == group.chosen else choice for choice in group.choices
            )
            lines += _hanging(f"  {group.name:<{longest}}  ", names, width)
    lines += ["", "Settings, with their values for these choices:"]
    for setting in reference.settings:
        if setting.is_head:
            lines += ["", *_hanging("", f"{setting.key}: {_plain(setting.meaning)}", width)]
            continue
        lines.append(f"  {setting.key}={setting.default}  ({_kind(setting)})")
        lines += textwrap.wrap(
            _plain(setting.meaning), width, initial_indent=" " * 6, subsequent_indent=" " * 6
        )
    return "\n".join(lines)


def reference_markdown(command_name: str, overrides: Sequence[str] = ()) -> str:
    """The page of a command in the documentation: its groups and settings as tables.

    Args:
        command_name: such as ``train_bc``.
        overrides: choices to show, such as ``["encoder=pixels"]``.

    Raises:
        UnknownNameError: there is no such command.
        ConfigurationError: an override does not fit.
    """
    reference = configuration_reference(command_name, overrides)
    lines = [f"# `python -m {reference.module}`", "", _markdown(reference.description), ""]
    if reference.examples:
        lines += ["```bash", *reference.examples, "```", ""]
    if reference.groups:
        lines += ["## Groups", "", "| group | choices | default |", "|---|---|---|"]
        for group in reference.groups:
            names = ", ".join(f"`{choice}`" for choice in group.choices)
            chosen = "one must be chosen" if group.chosen == "???" else f"`{group.chosen}`"
            lines.append(f"| `{group.name}` | {names} | {chosen} |")
        lines.append("")
    lines += ["## Settings", ""]
    for setting in (one for one in reference.settings if not one.is_head and "." not in one.key):
        lines += _first_row(setting, lines)
    for head in (one for one in reference.settings if one.is_head):
        lines += ["", f"### `{head.key}`", "", _markdown(head.meaning), ""]
        for setting in reference.settings:
            if not setting.is_head and setting.key.rpartition(".")[0] == head.key:
                lines += _first_row(setting, lines)
    return "\n".join(lines) + "\n"


def _commands() -> Iterator[tuple[str, str, Path]]:
    """Name, import path and file of each command of the toolkit."""
    for folder in _COMMAND_FOLDERS:
        for pattern in ("*.py", "*/__main__.py"):
            for path in sorted((_ROOT / folder).glob(pattern)):
                if "\n@command(" in path.read_text(encoding="utf-8"):
                    module = read_module(path, _package(path))
                    yield _declared_command(module)[0], _import_path(path), path


def _import_path(path: Path) -> str:
    path = path.resolve()
    if not path.is_relative_to(_ROOT):
        return path.stem
    return ".".join(path.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__main__")


def _package(path: Path) -> str:
    """The import path that relative imports of a command's module start from."""
    path = path.resolve()
    if not path.is_relative_to(_ROOT):
        return ""
    return ".".join(path.parent.relative_to(_ROOT).parts)


def _declared_command(module: SourceModule) -> tuple[str, SourceClass, str | None]:
    """Name, configuration and field for paths of the function that bears ``@command``."""
    for found in module.classes():
        for decorator in found.decorators("command"):
            schema = module.find(decorator[0])
            if isinstance(schema, SourceClass):
                return decorator[1], schema, decorator[2] if decorator[2:] else None
    raise UnknownNameError("command in", str(module.path), ())


def _examples(name: str) -> tuple[str, ...]:
    """The command lines in the comment that a primary file begins with."""
    file = resources.files("configs") / f"{name}.yaml"
    if not file.is_file():
        return ()
    lines = file.read_text(encoding="utf-8").splitlines()
    return tuple(line.removeprefix("# ") for line in lines if line.startswith("# python"))


def _settings(schema: SourceClass, run: ComposedRun) -> Iterator[Setting]:
    composed = OmegaConf.to_container(run.composed)
    assert isinstance(composed, dict)
    # Scalars first: a reader would take them for members of the group before them.
    yield from _below("", schema.parameters(), composed)


def _below(
    prefix: str, parameters: Sequence[Parameter], values: Mapping[Any, Any]
) -> Iterator[Setting]:
    known = {parameter.name: parameter for parameter in parameters}
    plain, nested = [], []
    for name in dict.fromkeys([*known, *map(str, values)]):
        parameter = known.get(name)
        value = values.get(name, "???" if parameter is None else parameter.default)
        schema = None if parameter is None else parameter.hint.dataclass
        options = _target_parameters(value)
        if isinstance(value, Mapping) and (schema is not None or options is not None):
            nested.append((name, parameter, value, schema))
        else:
            plain.append((name, parameter, value))
    for name, parameter, value in plain:
        yield _setting(f"{prefix}{name}", parameter, value)
    for name, parameter, value, schema in nested:
        meaning = "" if parameter is None else parameter.meaning
        yield Setting(f"{prefix}{name}", "settings", (), "", "", meaning)
        inner = (_target_parameters(value) or []) if schema is None else schema.parameters()
        yield from _below(f"{prefix}{name}.", inner, value)


def _setting(key: str, parameter: Parameter | None, value: Any) -> Setting:
    default = _yaml(value)
    if parameter is None:
        meaning = _RESERVED.get(key.rpartition(".")[2], "")
        return Setting(key, type(value).__name__, (), "", default, meaning)
    hint = parameter.hint
    return Setting(key, hint.text, hint.choices, hint.constraint, default, parameter.meaning)


_RESERVED = {
    "_target_": "Import path of the class; one of your own is named here.",
    "name": "The name of this choice.",
}
"""Keys that configuration files of ``_target_`` groups have and constructors have not."""


def _target_parameters(value: Any) -> list[Parameter] | None:
    """The arguments of the class that a configuration names; None if it names none."""
    if not isinstance(value, Mapping) or "_target_" not in value:
        return None
    found = find_class(str(value["_target_"]))
    return [] if found is None else (found.configuration() or found).parameters()


def _yaml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(_yaml(item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_yaml(item)}" for name, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _kind(setting: Setting) -> str:
    kind = setting.type
    if setting.choices:
        kind += f": {', '.join(setting.choices)}"
    return f"{kind}, {setting.constraint}" if setting.constraint else kind


def _first_row(setting: Setting, lines: list[str]) -> list[str]:
    """A row of a table, with the table's head where it begins."""
    head = ["| key | type | default | meaning |", "|---|---|---|---|"]
    begins = not lines or not lines[-1].startswith("|")
    kind = _kind(setting).replace("|", "\\|")
    row = f"| `{setting.key}` | {kind} | `{setting.default}` | {_markdown(setting.meaning)} |"
    return [*(head if begins else []), row]


def _hanging(head: str, text: str, width: int) -> list[str]:
    indent = " " * len(head)
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=indent or "  ") or [
        head.rstrip()
    ]


def _plain(text: str) -> str:
    """Docstring markup as a terminal shows it."""
    return _roles(text).replace("``", "")


def _markdown(text: str) -> str:
    return _roles(text).replace("``", "`").replace("|", "\\|")


def _roles(text: str) -> str:
    """``:func:`x``` and its like as plain code."""
    for role in ("class", "func", "meth", "mod", "attr", "data"):
        text = text.replace(f":{role}:`~", "`").replace(f":{role}:`", "`")
    return text
