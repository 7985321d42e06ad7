"""Records of evaluation tasks on disk: numbers, texts and arrays, and nothing that is unpickled."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.evaluate.task import EvaluationTaskError, Record

_ROWS = ".rows"
"""Behind the name of a field of arrays: how many rows each record's array has."""


def write_records(path: Path, records: Sequence[Record]) -> None:
    """Write records as an ``.npz`` archive, atomically; folders are made.

    Raises:
        EvaluationTaskError: the records have different fields, or one that is neither a number, a
            text nor an array of numbers.
    """
    arrays: dict[str, np.ndarray] = {}
    names = list(records[0]) if records else []
    if any(record.keys() != records[0].keys() for record in records):
        raise EvaluationTaskError(f"Expected all records to have the fields {', '.join(names)}.")
    for name in names:
        values = [record[name] for record in records]
        if isinstance(values[0], np.ndarray) and values[0].ndim:
            # Arrays may differ in their first axis, as the numbers of captions do.
            arrays[name] = np.concatenate(values)
            arrays[name + _ROWS] = np.array([len(value) for value in values])
        else:
            arrays[name] = np.array(values)
        if arrays[name].dtype.hasobject:
            raise EvaluationTaskError(
                f"Expected {name} of a record to be a number, a text or an array of numbers, got "
                f"{values[0]!r}. NaN stands for a number that is not known."
            )
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def read_records(path: Path) -> list[Record] | None:
    """What :func:`write_records` wrote; None if there is no whole file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    columns = {}
    for name, array in arrays.items():
        if name.endswith(_ROWS):
            continue
        if name + _ROWS in arrays:
            columns[name] = np.split(array, np.cumsum(arrays[name + _ROWS])[:-1])
        else:
            columns[name] = array.tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
