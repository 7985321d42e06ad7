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
from pretrain.clips.decoding import check_span
from pretrain.clips.sources.base import ClipRequest, Failure
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
        values: by column; what is missing at the end of a line is empty.
        problem: why it is no row of this table, or None.
    """

    place: str
    values: Mapping[str, str]
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
    path: str | Path, required: Sequence[str], header: Sequence[str] | None = None
) -> Iterator[Row]:
    """Lines of a table with commas, tabs, semicolons or blanks between columns.

    What separates columns is seen from the first line: EgoClip's "csv" has tabs.

    Args:
        path: of the file, UTF-8.
        required: columns that it must have; others are read as well.
        header: names of the columns where the file has none.

    Raises:
        AnnotationFileError: the file is missing, empty, or lacks a column.
    """
    path = Path(path)
    with _opened(path) as file:
        first = next((line for line in file if line.strip()), None)
        if first is None:
            raise AnnotationFileError(f"Expected a table in {path}, got an empty file.")
        delimiter, names = _columns(path, first, required, header)
        file.seek(0)
        lines = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
        rows = 0
        for values in lines:
            if not any(value.strip() for value in values):
                continue
            rows += 1
            if header is None and rows == 1:
                continue
            place = f"{path.name}:{lines.line_num}"
            filled = dict(zip(names, values, strict=False))
            problem = None
            if len(values) > len(names):
                problem = f"Expected {len(names)} columns, got {len(values)}."
            yield Row(place, filled, problem)
    if rows == (header is None):
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


def _columns(
    path: Path, first: str, required: Sequence[str], header: Sequence[str] | None
) -> tuple[str, list[str]]:
    """What separates columns, and their names."""
    best = ","
    most = -1
    for delimiter in _DELIMITERS:
        names = next(csv.reader([first], delimiter=delimiter, skipinitialspace=True))
        score = len(names) if header is not None else len(set(required) & _stripped(names))
        if score > most:
            best, most = delimiter, score
    if header is not None:
        return best, list(header)
    names = [
        name.strip() for name in next(csv.reader([first], delimiter=best, skipinitialspace=True))
    ]
    for column in required:
        if column not in names:
            close = difflib.get_close_matches(column, names, n=1, cutoff=0.5)
            hint = f" Is it {close[0]!r}?" if close else ""
            raise AnnotationFileError(
                f"Expected a column {column!r} in {path}, got {', '.join(names)}.{hint}"
            )
    return best, names


def _stripped(names: Sequence[str]) -> set[str]:
    return {name.strip() for name in names}
