"""Objects from configuration files that name their class by its import path (``_target_``).

There are no tables of encoders, policies or evaluation tasks: a file in ``configs/<group>`` names
the class, so a new one is a module and a file, and a user's own is an import path.
"""

import dataclasses
import importlib
import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from egodtm_robot.core.configuration.schema import check_value, from_mapping
from egodtm_robot.core.errors import ConfigurationError, EgoDTMRobotError, UnknownNameError

ConfigT = TypeVar("ConfigT")

MISSING = "???"
"""OmegaConf's mark of a value that the user has to give."""

FORMER_IMPORT_PATHS: dict[str, str] = {
    "pretrain.annotate.association.Association": (
        "pretrain.annotate.tracking.association.Association"
    ),
    "pretrain.annotate.byte_track.ByteTrack": "pretrain.annotate.tracking.byte_track.ByteTrack",
    "pretrain.annotate.combined.CombinedDetector": (
        "pretrain.annotate.detectors.combined.CombinedDetector"
    ),
    "pretrain.annotate.depth_egodtm.EgoDTMDepth": "pretrain.annotate.depth.egodtm.EgoDTMDepth",
    "pretrain.annotate.depth_huggingface.HuggingFaceDepth": (
        "pretrain.annotate.depth.huggingface.HuggingFaceDepth"
    ),
    "pretrain.annotate.depth_truth.TrueDepth": "pretrain.annotate.depth.truth.TrueDepth",
    "pretrain.annotate.endpoint.EndpointCaptions": (
        "pretrain.annotate.captions.endpoint.EndpointCaptions"
    ),
    "pretrain.annotate.handtrack.Handtrack": "pretrain.annotate.detectors.handtrack.Handtrack",
    "pretrain.annotate.local_chat.TransformersCaptions": (
        "pretrain.annotate.captions.local_chat.TransformersCaptions"
    ),
    "pretrain.annotate.sam2.Sam2Tracker": "pretrain.annotate.tracking.sam2.Sam2Tracker",
    "pretrain.annotate.template.TemplateCaptions": (
        "pretrain.annotate.captions.template.TemplateCaptions"
    ),
    "pretrain.annotate.trained_detector.TrainedDetector": (
        "pretrain.annotate.detectors.trained.TrainedDetector"
    ),
    "pretrain.annotate.true_boxes.TrueBoxes": "pretrain.annotate.detectors.truth.TrueBoxes",
    "pretrain.annotate.zero_shot.ZeroShotDetector": (
        "pretrain.annotate.detectors.zero_shot.ZeroShotDetector"
    ),
    "pretrain.clips.sources.synthetic.StoreSource": "pretrain.clips.sources.store.StoreSource",
}
"""Classes that were moved or renamed: the import path that they had, and the one of today.

Whoever moves a class that a file of ``configs`` names adds a line, so that configurations written
before (in the records of runs, in plans, by users) go on naming it.
"""


def group_names(group: str) -> tuple[str, ...]:
    """Names that have a file in ``configs/<group>``."""
    folder = resources.files("configs") / group
    return tuple(
        sorted(
            entry.name.removesuffix(".yaml")
            for entry in folder.iterdir()
            if entry.name.endswith(".yaml")
        )
    )


def group_config(group: str, name: str) -> dict[str, Any]:
    """The options that ``configs/<group>/<name>.yaml`` holds, on top of those it builds on.

    A file builds on the files of its own group that its ``defaults`` list names, as in Hydra.

    Raises:
        UnknownNameError: there is no such file.
    """
    if name not in group_names(group):
        raise UnknownNameError(group, name, group_names(group))
    text = (resources.files("configs") / group / f"{name}.yaml").read_text(encoding="utf-8")
    own = OmegaConf.create(text)
    assert isinstance(own, DictConfig)
    layers = []
    for entry in own.pop("defaults", ["_self_"]):
        if entry == "_self_":
            layers.append(own)
        elif isinstance(entry, str):
            folder, _, file = entry.removesuffix("@_here_").rpartition("/")
            layers.append(OmegaConf.create(group_config(f"{group}/{folder}".rstrip("/"), file)))
    return plain(OmegaConf.merge(*layers))


@dataclass(frozen=True)
class Choice:
    """What a configuration names, not made yet.

    Attributes:
        path: the import path, as the configuration or the file spells it.
        target: the class, or the function that makes the object.
        options: what it is to be called with.
        name: of the file in the group that the options come from; None for a user's own class.
    """

    path: str
    target: Any
    options: dict[str, Any]
    name: str | None


def choose(
    group: str,
    config: str | Mapping[str, Any],
    error: type[EgoDTMRobotError] = ConfigurationError,
    base: type | None = None,
) -> Choice:
    """Find what a configuration names.

    Args:
        group: of configuration.
        config: a name of the group for that choice with its defaults; an import path, which has a
            dot; or a mapping with ``_target_`` (an import path), ``name`` (a file of the group) and
            options. A mapping without ``_target_`` takes it and all options not given from the file
            of its ``name``.

            Where ``_target_`` is not that of the named file (``<group>._target_=my.module.Mine``
            on the command line leaves the options of the default choice in place), options that
            still have the file's values belong to the other class and are dropped.
            ``<group>=custom`` has none to begin with.
        error: raised where nothing is chosen, or the import path leads nowhere.
        base: class that the target must be a subclass of; None allows any class or function.

    Raises:
        UnknownNameError: the group has no such name.
    """
    if isinstance(config, str):
        given: dict[str, Any] = {"_target_" if "." in config else "name": config}
    else:
        given = plain(config)
    name = given.pop("name", None)
    path = given.pop("_target_", None)
    if name is None and path is None:
        raise error(
            f"Expected a name of configs/{group} ({', '.join(group_names(group))}) or an import "
            f"path in {group}._target_, got neither."
        )
    defaults: dict[str, Any] = {}
    if path is None or name in group_names(group):
        defaults = group_config(group, str(name))
        defaults.pop("name", None)
        own_path = defaults.pop("_target_")
        if path is None:
            path = own_path
            given = {**defaults, **given}
    else:
        own_path = path
    target = import_target(group, str(path), error, base)
    if current_import_path(str(path)) != current_import_path(str(own_path)):
        name = None
        given = {
            key: value
            for key, value in given.items()
            if key not in defaults or value != defaults[key]
        }
    return Choice(str(path), target, given, None if name is None else str(name))


def plain(config: Any) -> dict[str, Any]:
    """A mapping of lists, dictionaries and numbers instead of OmegaConf's containers."""
    if not OmegaConf.is_config(config):
        config = OmegaConf.create(dict(config))
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def current_import_path(path: str) -> str:
    """The import path of today for one that a class may have had before."""
    return FORMER_IMPORT_PATHS.get(path, path)


def import_target(
    group: str,
    path: str,
    error: type[EgoDTMRobotError] = ConfigurationError,
    base: type | None = None,
) -> Any:
    """What ``<group>._target_`` names.

    Args:
        group: of configuration.
        path: package.module.Class; one of :data:`FORMER_IMPORT_PATHS` gives the class of today.
        error: raised where the path leads to nothing that can be called, or to no such subclass.
        base: class that the target must be a subclass of; None allows any class or function.
    """
    module_name, _, class_name = current_import_path(path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, TypeError, ValueError) as reason:
        raise error(
            f"Expected {group}._target_ to be an import path (package.module.Class), got "
            f"{path!r}: {reason}. The module must be installed or lie in a folder of PYTHONPATH."
        ) from reason
    if not callable(found):
        raise error(f"Expected {group}._target_ to name a class, got {path!r}, which is {found!r}.")
    if base is not None and not (inspect.isclass(found) and issubclass(found, base)):
        raise error(
            f"Expected {group}._target_ to name a subclass of {base.__module__}."
            f"{base.__qualname__}, got {path!r}, which is {found!r}."
        )
    return found


def check_options(
    group: str,
    target: Any,
    options: Mapping[str, Any],
    error: type[EgoDTMRobotError] = ConfigurationError,
) -> None:
    """Refuse options that a class does not take, and the lack of those that it needs.

    Args:
        group: of configuration.
        target: class, or function that makes the object.
        options: what it would be called with.
        error: raised where an option is missing.

    Raises:
        UnknownNameError: no such option.
    """
    parameters = dict(inspect.signature(target).parameters)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for option in options:
        if option not in parameters:
            raise UnknownNameError(f"option of {target.__name__}", option, tuple(parameters))
    missing = [
        option
        for option, parameter in parameters.items()
        if options.get(option) == MISSING
        or (
            parameter.default is inspect.Parameter.empty
            and parameter.kind is not inspect.Parameter.VAR_POSITIONAL
            and options.get(option) is None
        )
    ]
    if missing:
        listed = ", ".join(f"{group}.{option}=..." for option in missing)
        raise error(f"{target.__name__} needs {listed}.")
    _check_types(group, target, parameters, options)


def _check_types(
    group: str,
    target: Any,
    parameters: Mapping[str, inspect.Parameter],
    options: Mapping[str, Any],
) -> None:
    """Refuse options of the wrong type, as far as the arguments have types that OmegaConf knows.

    Raises:
        ConfigurationError: a value has the wrong type.
        UnknownNameError: a value is none of the choices of a ``Literal``.
    """
    maker = target.__init__ if inspect.isclass(target) else target
    try:
        hints = typing.get_type_hints(maker, include_extras=True)
    except (NameError, TypeError):
        return  # a user's own class may have annotations that mean nothing at run time
    for option, value in options.items():
        if option in hints and option in parameters:
            check_value(f"{group}.{option}", hints[option], value)


def typed_options(group: str, config_class: type[ConfigT], options: Mapping[str, Any]) -> ConfigT:
    """Options as a configuration dataclass, with every name and type checked.

    Args:
        group: of configuration, for messages.
        config_class: a dataclass whose fields have defaults; dataclasses may be nested in it.
        options: what differs from the defaults, nested in the same way.

    Raises:
        UnknownNameError: a name is not among the fields.
        ConfigurationError: a value has the wrong type.
    """
    _check_fields(group, config_class, options)
    return from_mapping(config_class, dict(options), group)


def _check_fields(group: str, config_class: Any, options: Mapping[str, Any]) -> None:
    known = {field.name: field.type for field in dataclasses.fields(config_class)}
    for option, value in options.items():
        if option not in known:
            raise UnknownNameError(f"option of {group}", option, tuple(known))
        nested = known[option]
        if dataclasses.is_dataclass(nested) and isinstance(value, Mapping):
            _check_fields(f"{group}.{option}", nested, value)
