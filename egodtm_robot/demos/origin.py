"""Where demonstrations come from that were not made here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FOREIGN_KIND = "foreign"
"""The kind of environment of demonstrations that no simulator known here can restore or draw."""


@dataclass(frozen=True)
class Origin:
    """What another toolkit's data set says of itself.

    Attributes:
        format: kind of the format that it was read from, such as ``lerobot``.
        version: of that format, as the data set states it.
        name: of the data set.
        fps: control steps a second; None where it is not known.
        robot_type: as the data set calls it.
        resolutions: for each camera the (height, width) of its images, pixels.
        tasks: texts that ``task_index`` points into.
        columns: for arrays of the store the names that the data set has for them.
        metadata: what else the data set says and has no counterpart here, as JSON.
    """

    format: str
    version: str
    name: str
    fps: float | None = None
    robot_type: str | None = None
    resolutions: dict[str, tuple[int, int]] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Origin":
        """The origin that a store holds."""
        sizes = {name: (int(h), int(w)) for name, (h, w) in values["resolutions"].items()}
        return cls(**{**values, "resolutions": sizes, "tasks": tuple(values["tasks"])})
