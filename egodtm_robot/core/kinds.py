"""What stored things call a class: its ``kind``, which stays when the class is moved or renamed.

Configurations choose a class by its import path (``_target_``), because that needs no table. What
lies on a disk outlives the place of a file: a fingerprint, the record of a run and the plan of a
preparation name a class by a ``kind``, a short string that the class declares::

    class PixelEncoder(ImageEncoder):
        kind = "pixels"

The rules:

- A kind is never changed, and never given to a class that does something else.
- Only a class's own declaration counts. A subclass that declares none is another class, and does
  not pass for the one that it derives from.
- A class without a kind is called by its import path, ``package.module.Class``: its stored things
  hold until its file is moved. Declare a kind before you train anything that you want to keep.
"""

from collections.abc import Mapping
from typing import Any

from egodtm_robot.core.configuration.instantiation import (
    MISSING,
    group_config,
    group_names,
    import_target,
    plain,
)
from egodtm_robot.core.errors import ConfigurationError

KIND = "_kind_"
"""Key of a stored configuration that stands for ``_target_``."""

TARGET = "_target_"


def declared_kind(part: Any) -> str | None:
    """The kind that a class itself declares; None where it declares none."""
    return vars(part).get("kind") if isinstance(part, type) else None


def kind_of(part: type) -> str:
    """The kind of a class: the declared one, or its import path."""
    return declared_kind(part) or f"{part.__module__}.{part.__qualname__}"


def stored_config(group: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A part's configuration as it is stored.

    Args:
        group: of configuration, such as ``encoder``.
        config: ``_target_`` or the ``name`` of a file of the group, and the part's options.

    Returns:
        The same with ``_kind_`` in place of ``_target_`` where a file of the group names the class.
        A user's own class keeps its import path: there is no other way to find it again.
    """
    content = plain(config)
    if content.get(TARGET) is None:
        content = {**group_config(group, str(content.get("name"))), **content}
    try:
        part = import_target(group, str(content[TARGET]))
    except ConfigurationError:
        return content
    kind = declared_kind(part)
    shipped = None if kind is None else shipped_target(group, kind)
    if shipped is None or import_target(group, shipped) is not part:
        return content
    del content[TARGET]
    return {KIND: kind, **content}


def restored_config(group: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`stored_config`; what was stored before there were kinds is read too.

    Args:
        group: of configuration.
        stored: with ``_kind_``, or with the ``_target_`` of today or of a former version.

    Raises:
        ConfigurationError: this version has no class of that kind.
    """
    content = plain(stored)
    kind = content.pop(KIND, None)
    if kind is None:
        return content
    target = shipped_target(group, str(kind))
    if target is None:
        raise ConfigurationError(
            f"Expected the kind of {group} that was stored to be one of this version, got "
            f"{kind!r}. Use the version of this package that wrote it."
        )
    return {**content, TARGET: target}


def stored_kind(group: str, stored: Mapping[str, Any]) -> str:
    """The kind of a stored configuration's class; the import path where it cannot be imported."""
    if stored.get(KIND) is not None:
        return str(stored[KIND])
    path = str(stored.get(TARGET))
    try:
        part = import_target(group, path)
    except ConfigurationError:
        return path
    return kind_of(part) if isinstance(part, type) else path


def shipped_kinds(group: str) -> tuple[str, ...]:
    """The kinds of the classes that the files of a group name."""
    targets = {group_config(group, name).get(TARGET, MISSING) for name in group_names(group)}
    classes = [import_target(group, target) for target in targets - {MISSING}]
    return tuple(sorted({kind_of(part) for part in classes}))


def shipped_target(group: str, kind: str) -> str | None:
    """The import path that the files of a group give for the class of that kind; None for none."""
    # A file mostly bears the name of its class's kind; looked at first, it spares imports.
    for name in sorted(group_names(group), key=lambda name: name != kind):
        target = group_config(group, name).get(TARGET)
        if target in (None, MISSING):
            continue  # the file leaves the class open
        if declared_kind(import_target(group, target)) == kind:
            return str(target)
    return None
