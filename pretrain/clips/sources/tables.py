"""Reading annotation files as they were published, and naming what is wrong with them."""

import csv
import difflib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from egodtm_robot.core.errors import EgoDTMRobotError
from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.spans import check_span
from pretrain.clips.video_file import ClipSpanError

_DELIMITERS = (",", "\t", ";", " ")
_ENCODING = "utf-8-sig"  # What spreadsheets write begins with a mark that is no part of a name.


class AnnotationFileError(EgoDTMRobotError, ValueError):
    """An annotation file is missing, empty, or not of the form that its source publishes."""


class RowError(ValueError):
    """One row of an annotation file says nothing that could be a clip; others may."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        place: file and line, for messages.
        values: by column; what is missing at the end of a line is missing here.
        cells: the same in their order.
        problem: why it is no row of this table, or None.
    """

    place: str
    values: Mapping[str, str]
    cells: tuple[str, ...]
    problem: str | None = None

    def text(self, column: str) -> str:
        """What stands in a column, without blanks around it.

        Raises:
            RowError: nothing does.
        """
        value = self.values.get(column, "").strip()
        if not value:
            raise RowError(f"Expected something in column {column}, got nothing.")
        return value

    def number(self, column: str) -> float:
        """The same as a number.

        Raises:
            RowError: it is none.
        """
        value = self.text(column)
        try:
            return float(value)
        except ValueError:
            raise RowError(f"Expected a number in column {column}, got {value!r}.") from None

    def clock(self, column: str) -> float:
        """Seconds of a time such as 00:01:07.25, or of a plain number.

        Raises:
            RowError: it is neither.
        """
        value = self.text(column)
        seconds = 0.0
        try:
            for part in value.split(":"):
                seconds = 60 * seconds + float(part)
        except ValueError:
            raise RowError(
                f"Expected a time such as 00:01:07.25 in column {column}, got {value!r}."
            ) from None
        return seconds


def read_table(
    path: str | Path,
    required: Sequence[str],
    *,
    header: bool = True,
    delimiter: str | None = None,
) -> Iterator[Row]:
    """Lines of a table.

    Args:
        path: of the file, UTF-8.
        required: columns that it must have; others are read as well. Of a table that does not name
            its columns, the names of all.
        header: whether the first line names the columns.
        delimiter: what separates columns; None for the comma, tab, semicolon or blank that the
            names of columns show. EgoClip's "csv" has tabs.

    Raises:
        AnnotationFileError: the file is missing, empty, or lacks a column.
    """
    path = Path(path)
    with _opened(path) as file:
        first = next((line for line in file if line.strip()), None)
        if first is None:
            raise AnnotationFileError(f"Expected a table in {path}, got an empty file.")
        delimiter = delimiter or _delimiter(first, required)
        names = _cells(first, delimiter) if header else list(required)
        _check_columns(path, names, required)
        file.seek(0)
        lines = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
        rows = 0
        for cells in lines:
            while cells and not cells[-1].strip() and (len(cells) > len(names) or len(cells) == 1):
                cells.pop()
            if not cells:
                continue
            rows += 1
            if header and rows == 1:
                continue
            problem = None
            if len(cells) > len(names):
                problem = f"Expected {len(names)} columns, got {len(cells)}."
            values = dict(zip(names, cells, strict=False))
            yield Row(f"{path.name}:{lines.line_num}", values, tuple(cells), problem)
    if rows == header:
        raise AnnotationFileError(f"Expected rows below the names of columns in {path}, got none.")


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """A text file, with errors of opening and reading that say what was expected."""
    try:
        with path.open(encoding=_ENCODING, newline="") as file:
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise AnnotationFileError(
            f"Expected an annotation file at {path}, but there is nothing."
        ) from None
    except OSError as error:
        raise AnnotationFileError(
            f"Expected an annotation file at {path} that can be read: {error.strerror}."
        ) from error
    except UnicodeDecodeError as error:
        raise AnnotationFileError(
            f"Expected text of encoding UTF-8 in {path}, got byte {error.start} that is none."
        ) from error
    except csv.Error as error:
        raise AnnotationFileError(
            f"Expected a table in {path}, got something else: {error}."
        ) from error


def read_json(path: str | Path) -> Any:
    """What a JSON file holds.

    Raises:
        AnnotationFileError: it is missing or no JSON.
    """
    path = Path(path)
    with _opened(path) as file:
        text = file.read()
    if not text.strip():
        raise AnnotationFileError(f"Expected JSON in {path}, got an empty file.")
    try:
        return json.loads(text)
    except ValueError as error:
        raise AnnotationFileError(
            f"Expected JSON in {path}, got something else: {error}."
        ) from error


def checked(request: ClipRequest, place: str) -> ClipRequest | Failure:
    """A request, or why its span is none.

    Args:
        request: of a row.
        place: file and line of the row.
    """
    try:
        check_span(request.start_s, request.end_s)
    except ClipSpanError as error:
        return Failure(request.key, "source", f"{place}: {error}")
    return request


@functools.lru_cache(maxsize=256)
def fill(pattern: str, **values: str) -> Path:
    """A path from a pattern such as ``{participant_id}/{video_id}.MP4``; one object for many rows.

    Raises:
        AnnotationFileError: the pattern names something else than ``values``.
    """
    try:
        return Path(pattern.format(**values))
    except (KeyError, IndexError, ValueError) as error:
        names = ", ".join("{" + name + "}" for name in values)
        raise AnnotationFileError(
            f"Expected a pattern of {names} for the path of a video, got {pattern!r} ({error})."
        ) from error


def _cells(line: str, delimiter: str) -> list[str]:
    found = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    return [cell.strip() for cell in found]


def _delimiter(line: str, required: Sequence[str]) -> str:
    """What separates columns where a line has the most of their names."""
    return max(_DELIMITERS, key=lambda one: len(set(required) & set(_cells(line, one))))


def _check_columns(path: Path, names: Sequence[str], required: Sequence[str]) -> None:
    for column in required:
        if column not in names:
            close = difflib.get_close_matches(column, names, n=1, cutoff=0.5)
            hint = f" Is it {close[0]!r}?" if close else ""
            raise AnnotationFileError(
                f"Expected a column {column!r} in {path}, got {', '.join(names)}.{hint}"
            )
