"""JSON on disk: whole or not there, and readable by every parser."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from egodtm_robot.core.atomic_files import write_atomically


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically; its folder must exist."""
    text = json.dumps(without_nan(value), indent=2, allow_nan=False)
    write_atomically(path, text.encode() + b"\n")


def without_nan(value: Any) -> Any:
    """The same with None for numbers that JSON has no notation for (NaN, infinities)."""
    if isinstance(value, Mapping):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
