"""What the columns of a data set become in a store."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from egodtm_robot.demos.convert.contract import ConversionError
from egodtm_robot.demos.episode import Episode


@dataclass(frozen=True)
class Column:
    """A column of a data set, with a row for every step.

    Attributes:
        name: as the data set has it.
        dtype: of its numbers.
        row_shape: of one row; () for a number.
    """

    name: str
    dtype: np.dtype
    row_shape: tuple[int, ...]


@dataclass(frozen=True)
class Roles:
    """Which column is what. Columns of vectors become one float32 vector, in their order.

    Attributes:
        actions: what was done.
        proprioception: the robot's own state.
        privileged: the world's state.
        cameras: by the camera's name here, its column.
        extra: by the name here, what has no counterpart. A column that does not pass into a float32
            vector unchanged (of another type or shape, or one of several) is kept here as well.
    """

    actions: tuple[Column, ...]
    proprioception: tuple[Column, ...] = ()
    privileged: tuple[Column, ...] = ()
    cameras: Mapping[str, Column] = field(default_factory=dict)
    extra: Mapping[str, Column] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, str]:
        """For arrays of the store the column that they give back when they are written again."""
        vectors = {
            name: column[0].name
            for name, column in self._vectors().items()
            if len(column) == 1 and _passes_unchanged(column[0])
        }
        images = {f"rgb/{camera}": column.name for camera, column in self.cameras.items()}
        return vectors | images | {f"extra/{name}": c.name for name, c in self.extra.items()}

    @property
    def rows(self) -> dict[str, tuple[Sequence[int], DTypeLike]]:
        """For each array of the store the (shape, dtype) of a row."""
        sizes = {
            name: ((sum(int(np.prod(c.row_shape)) for c in columns),), "float32")
            for name, columns in self._vectors().items()
        }
        images = {f"rgb/{name}": (c.row_shape, "uint8") for name, c in self.cameras.items()}
        extra = {f"extra/{name}": (c.row_shape, c.dtype) for name, c in self.extra.items()}
        return {**sizes, **images, **extra}

    def episode(
        self,
        read: Callable[[Column], np.ndarray],
        *,
        steps: int,
        number: int,
        success: bool | None,
        task_index: np.ndarray | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> Episode:
        """The episode of a data set as the store takes it.

        Args:
            read: gives the rows (T, ...) of a column.
            steps: T.
            number: of the episode in the data set.
            success: if the data set says so.
            task_index: int64 (T,), if the data set has tasks.
            notes: further facts about the episode.

        Raises:
            ConversionError: a column has another number of rows.
        """
        values: dict[str, np.ndarray] = {}

        def rows(column: Column) -> np.ndarray:
            if column.name not in values:
                found = read(column)
                if len(found) != steps:
                    raise ConversionError(
                        f"Expected {steps} rows of {column.name!r} in episode {number}, as many as "
                        f"of the other columns, got {len(found)}. The episode is ragged: repair or "
                        "remove it."
                    )
                values[column.name] = found
            return values[column.name]

        def vector(columns: Iterable[Column]) -> np.ndarray:
            parts = [rows(column).reshape(steps, -1).astype(np.float32) for column in columns]
            return np.concatenate(parts, axis=1) if parts else np.zeros((steps, 0), np.float32)

        return Episode(
            rgb={camera: rows(column) for camera, column in self.cameras.items()},
            proprioception=vector(self.proprioception),
            privileged=vector(self.privileged),
            actions=vector(self.actions),
            simulator_state=np.zeros((steps, 0)),
            reset={},
            seed=number,
            success=success,
            task_index=task_index,
            extra={name: rows(column) for name, column in self.extra.items()},
            notes=dict(notes or {}),
        )

    def _vectors(self) -> dict[str, tuple[Column, ...]]:
        return {
            "actions": self.actions,
            "proprioception": self.proprioception,
            "privileged": self.privileged,
        }


def assign_roles(
    columns: Iterable[Column],
    *,
    data_set: str,
    actions: Sequence[str],
    proprioception: Sequence[str],
    privileged: Sequence[str] = (),
    cameras: Mapping[str, str],
    left_out: Iterable[str] = (),
) -> Roles:
    """Give every column its role; those that have none are kept as extra ones.

    Args:
        columns: of the data set, those of images included.
        data_set: its name, for messages.
        actions: names of the columns of actions.
        proprioception: names of the columns of the robot's state.
        privileged: names of the columns of the world's state.
        cameras: by the name of a camera its column.
        left_out: names of columns that are not converted.

    Raises:
        ConversionError: there is no column of a name, or none of actions.
    """
    known = {column.name: column for column in columns}

    def find(names: Sequence[str]) -> tuple[Column, ...]:
        for name in names:
            if name not in known:
                raise ConversionError(
                    f"Expected a column {name!r} in {data_set}, found {', '.join(sorted(known))}. "
                    "Name the right one in format.actions, format.proprioception or "
                    "format.privileged."
                )
        return tuple(known[name] for name in names)

    vectors = [find(names) for names in (actions, proprioception, privileged)]
    if not vectors[0]:
        raise ConversionError(f"Expected a column of actions in {data_set}; name it in format.*.")
    images = {camera: known[name] for camera, name in cameras.items()}
    used = {column.name for column in images.values()}
    for group in vectors:
        if len(group) == 1 and _passes_unchanged(group[0]):
            used.add(group[0].name)
    kept = [c for name, c in known.items() if name not in used and name not in set(left_out)]
    return Roles(vectors[0], vectors[1], vectors[2], images, _safe_names(kept))


def choose_cameras(
    available: Mapping[str, str], wanted: Sequence[str] | None, data_set: str
) -> tuple[dict[str, str], set[str]]:
    """The cameras to convert, and the columns of those that are left out.

    Args:
        available: by the name of a camera its column.
        wanted: names of cameras, or of their columns; None for all.
        data_set: its name, for messages.

    Raises:
        ConversionError: there is no camera of a name.
    """
    if wanted is None:
        return dict(available), set()
    chosen = {}
    for name in wanted:
        found = [c for c, column in available.items() if name in (c, column)]
        if not found:
            raise ConversionError(
                f"Expected a camera {name!r} in {data_set}, found "
                f"{', '.join(sorted(available)) or 'none'}. Name one of these in format.cameras."
            )
        chosen[found[0]] = available[found[0]]
    return chosen, set(available.values()) - set(chosen.values())


def camera_names(columns: Iterable[str], prefix: str = "", suffix: str = "") -> dict[str, str]:
    """For columns of images the names of their cameras: without prefix and suffix, and unique."""
    names: dict[str, str] = {}
    for column in columns:
        short = column.removeprefix(prefix).removesuffix(suffix) or column
        names[_unique(safe_name(short).replace("/", "."), names)] = column
    return names


def safe_name(name: str) -> str:
    """A name that an array of a store can have, as near to the given one as may be."""
    parts = [re.sub(r"[^A-Za-z0-9_.\-]", "_", part) for part in name.split("/") if part]
    return "/".join(part if re.match(r"[A-Za-z0-9_]", part) else f"_{part}" for part in parts)


def _safe_names(columns: Iterable[Column]) -> dict[str, Column]:
    named: dict[str, Column] = {}
    for column in columns:
        named[_unique(safe_name(column.name), named)] = column
    return named


def _unique(name: str, taken: Mapping[str, Any]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _passes_unchanged(column: Column) -> bool:
    return column.dtype == np.float32 and len(column.row_shape) == 1
