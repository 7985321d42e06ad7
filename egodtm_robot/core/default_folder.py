"""The folder of a run that no one named: its name carries what differs from the defaults.

A folder belongs to one set of settings. Where its name told the choices of a few groups alone, a
second experiment that changed another setting would be refused. So every setting that decides a run
and is not the default is part of the name, ``runs/light/egodtm-policy_knn-demos.noise_0.1``: the
second experiment just runs, and the same command finds its own run again.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from egodtm_robot.core.run_folder import holds_run
from egodtm_robot.core.training.identity import ABSENT, Difference, decisive, differences

_LONGEST_SUFFIX = 100
"""Bytes of what is added to a name; file systems take 255 for all of it."""

_OTHER_SIGNS = re.compile(r"[^\w.+-]+")
"""What neither a shell nor an override of Hydra takes without quotes."""

_CHOICES = ("_kind_", "_target_", "kind", "name")
"""Keys whose value says what a part is."""


def default_folder(
    base: Path,
    config: object,
    usual: object,
    *,
    leaf: str = "",
    earlier: Sequence[Path] = (),
) -> Path:
    """Name the folder of a run.

    Args:
        base: named by what every run of the command tells, such as ``runs/light/egodtm``.
        config: the command's configuration dataclass.
        usual: what it would be if nothing had been set beside what ``base`` and ``leaf`` tell.
        leaf: a further part of the path, such as ``quick_seed0``: what varies between the
            repetitions of one experiment.
        earlier: folders that an earlier version would have taken, beside ``base`` with ``leaf``.

    Returns:
        ``base-<setting>_<value>-.../leaf``, and ``base/leaf`` where all settings are the defaults;
        a name that would be too long is cut and ends in a hash. One of ``earlier``, or
        ``base/leaf``, if it holds a run with these settings.
    """
    found = differences(decisive(usual), config)
    plain = base / leaf
    for folder in dict.fromkeys((plain, *earlier)):
        if holds_run(folder, config):
            return folder
    return base.with_name(base.name + _suffix(found)) / leaf if found else plain


def _suffix(found: Sequence[Difference]) -> str:
    """``-key_value`` for each setting, short enough for the name of a folder."""
    labels = [_label(one) for one in found]
    suffix = "".join(labels)
    if len(os.fsencode(suffix)) <= _LONGEST_SUFFIX:
        return suffix
    whole = json.dumps([[one.path, _stored(one.now)] for one in found], default=str)
    end = f"-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
    suffix = ""
    for label in labels:
        if len(os.fsencode(suffix + label + end)) > _LONGEST_SUFFIX:
            break
        suffix += label
    return suffix + end


def _label(difference: Difference) -> str:
    """``-key_value``; a part's kind, name or class stands for the part itself."""
    part, _, last = difference.path.rpartition(".")
    value = difference.now
    if last in _CHOICES and part and isinstance(value, str):
        return f"-{part}_{_text(value.rpartition('.')[2])}"
    return f"-{difference.path}_{_text(value)}"


def _text(value: Any) -> str:
    """A value without signs that mean something to a shell or to Hydra."""
    if value is ABSENT:
        return "absent"
    if isinstance(value, list) and not any(isinstance(one, (list, dict)) for one in value):
        return "+".join(map(_text, value)) or "none"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return _OTHER_SIGNS.sub("_", text).strip("_") or "none"


def _stored(value: Any) -> Any:
    return "absent" if value is ABSENT else value
