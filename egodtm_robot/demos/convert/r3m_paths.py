"""R3M's demonstrations: a pickled list of paths, as mjrl collects them.

A path is a dictionary of arrays: ``observations`` (T, P), ``actions`` (T, A), ``rewards`` (T,),
``images`` (T, H, W, 3) and, nested, ``env_infos`` and ``init_state_dict``
(https://github.com/facebookresearch/r3m, branch eval). Such pickles are read without running
anything in them, see :mod:`.restricted_pickle`; they are not written, since whoever reads one runs
it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from egodtm_robot.demos.attributes import DemonstrationAttributes, foreign_attributes
from egodtm_robot.demos.convert.columnar import ColumnarSource
from egodtm_robot.demos.convert.contract import ConversionError, DemonstrationFormat
from egodtm_robot.demos.convert.record import encode_array
from egodtm_robot.demos.convert.restricted_pickle import load_arrays
from egodtm_robot.demos.convert.roles import (
    Column,
    Roles,
    assign_roles,
    camera_names,
    choose_cameras,
)
from egodtm_robot.demos.episode import Episode
from egodtm_robot.demos.origin import Origin

_SUCCESS = ("env_infos/solved", "env_infos/success")


@dataclass
class R3MPathsFormat(DemonstrationFormat):
    """R3M's pickled paths; they are read and never written."""

    kind = "r3m_paths"

    actions: str = "actions"
    """The array of actions."""

    proprioception: list[str] | None = None
    """Arrays that make the robot's state, in this order; null takes ``observations``."""

    privileged: list[str] | None = None
    """Arrays that make the world's state; null takes none."""

    cameras: list[str] | None = None
    """Cameras to convert; null takes all arrays of images."""

    camera: str = "default"
    """Name of the camera of ``images``: R3M has a file for each, in a folder of that name."""

    def open(self, path: Path) -> "R3MPathsSource":
        """A pickle; see :meth:`DemonstrationFormat.open`."""
        return R3MPathsSource(path, self)


class R3MPathsSource(ColumnarSource):
    """A pickle of paths, in memory.

    Args:
        path: of the file.
        options: which arrays and cameras to take.
    """

    whole: ClassVar[bool] = True

    def __init__(self, path: Path, options: R3MPathsFormat) -> None:
        self.path = Path(path)
        paths = load_arrays(self.path)
        if not isinstance(paths, list | tuple) or not paths:
            raise ConversionError(
                f"Expected a list of paths in {self.path}, got {type(paths).__name__}."
            )
        for number, one in enumerate(paths):
            found = one.get(options.actions) if isinstance(one, dict) else None
            if not isinstance(found, np.ndarray) or found.ndim < 1:
                raise ConversionError(
                    f"Expected a dictionary with an array {options.actions!r} as path {number} of "
                    f"{self.path}, got {type(one).__name__} with {type(found).__name__}."
                )
        self._paths = [_flat(one) for one in paths]
        self._lengths = [len(one[options.actions]) for one in self._paths]
        self._roles = self._assign(options)

    def own_attributes(self) -> DemonstrationAttributes:
        """See :class:`ColumnarSource`."""
        origin = Origin(
            format=R3MPathsFormat.kind,
            version="1",
            name=self.path.stem,
            resolutions={
                name: (column.row_shape[0], column.row_shape[1])
                for name, column in self._roles.cameras.items()
            },
            columns=self._roles.columns,
        )
        return foreign_attributes(origin)

    @property
    def lengths(self) -> list[int]:
        """See :class:`DemonstrationSource`."""
        return self._lengths

    def read(self, index: int) -> Episode:
        """See :class:`DemonstrationSource`."""
        path, steps = self._paths[index], self._lengths[index]

        def rows(column: Column) -> np.ndarray:
            values = path.get(column.name)
            if not isinstance(values, np.ndarray):
                raise ConversionError(
                    f"Expected an array {column.name!r} in path {index} of {self.path}, as the "
                    f"first path has it, got {type(values).__name__}."
                )
            return values

        success = None
        for name in _SUCCESS:
            if name in path and np.shape(path[name]):
                success = bool(np.any(path[name]))
        known = {column.name for column in self._columns}
        notes = {
            name: _json(value)
            for name, value in path.items()
            if name not in known and _fits_json(value)
        }
        return self._roles.episode(
            rows, steps=steps, number=index, success=success, notes={"path": notes}
        )

    def _assign(self, options: R3MPathsFormat) -> Roles:
        first, steps = self._paths[0], self._lengths[0]
        # What has a row for every step in every path; the rest belongs to a path as a whole.
        lengths = list(zip(self._paths, self._lengths, strict=True))
        asked = {*(options.proprioception or ["observations"]), *(options.privileged or [])}
        for name in asked:
            if name in first and not isinstance(first[name], np.ndarray):
                raise ConversionError(
                    f"Expected an array {name!r} in path 0 of {self.path}, got "
                    f"{type(first[name]).__name__}."
                )
        self._columns, images = [], []
        for name, values in first.items():
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
                continue
            if values.ndim < 1 or len(values) != steps:
                continue
            always = all(
                isinstance(path.get(name), np.ndarray) and len(path[name]) == length
                for path, length in lengths
            )
            # An array that was asked for, or of images, is missed where it is missing.
            if not (always or name in asked or values.ndim == 4):
                continue
            self._columns.append(Column(name, values.dtype, values.shape[1:]))
            if values.ndim == 4 and values.shape[3] == 3 and values.dtype == np.uint8:
                images.append(name)
        available = {
            (options.camera if column == "images" else name): column
            for name, column in camera_names(images).items()
        }
        cameras, left_out = choose_cameras(available, options.cameras, str(self.path))
        state = options.proprioception
        if state is None:
            state = [c.name for c in self._columns if c.name == "observations"]
        return assign_roles(
            self._columns,
            data_set=str(self.path),
            actions=[options.actions],
            proprioception=state,
            privileged=options.privileged or [],
            cameras=cameras,
            left_out=left_out,
        )


def _flat(path: Mapping[str, Any], below: str = "") -> dict[str, Any]:
    """The arrays of nested dictionaries by their path."""
    found: dict[str, Any] = {}
    for name, value in path.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{below}{name}/")
        else:
            found[f"{below}{name}"] = value
    return found


def _fits_json(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biuf"
    return value is None or isinstance(value, bool | int | float | str)


def _json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return encode_array(value)
    return value.item() if isinstance(value, np.generic) else value
