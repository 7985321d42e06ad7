"""The committed rows of one array, read from its chunks."""

import os
from pathlib import Path

import numpy as np

from egodtm_robot.core.errors import CorruptStoreError
from egodtm_robot.core.storage.array_spec import ArraySpec
from egodtm_robot.core.storage.files import for_each

# Decoding leaves the interpreter lock but needs a core.
DECODING_THREADS = max(2, min(8, os.cpu_count() or 2))


class CommittedArray:
    """The committed rows of one array, read from its chunks. Safe to use from many threads."""

    def __init__(self, folder: Path, name: str, spec: ArraySpec, rows: int) -> None:
        self.folder = folder
        self.name = name
        self.spec = spec
        self.rows = rows
        self._last: tuple[int, np.ndarray] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all rows, (rows, *row_shape)."""
        return (self.rows, *self.spec.row_shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, uncompressed."""
        return self.rows * self.spec.row_bytes

    def chunk(self, index: int) -> np.ndarray:
        """Committed rows of a chunk, (<= chunk_rows, *row_shape), read-only.

        Raises:
            CorruptStoreError: the file is missing or is not what was written.
        """
        last = self._last
        if last is not None and last[0] == index:
            rows = last[1]
        else:
            try:
                rows = self.spec.decode((self.folder / self.spec.chunk_file(index)).read_bytes())
            except FileNotFoundError:
                raise self._corrupt(index, "the file is missing") from None
            except ValueError as error:
                raise self._corrupt(index, str(error)) from error
            # A walk over single steps meets the same chunk again and again.
            self._last = (index, rows)
        return rows[: self.rows - index * self.spec.chunk_rows]

    def _corrupt(self, index: int, reason: str) -> CorruptStoreError:
        file = self.folder / self.spec.chunk_file(index)
        return CorruptStoreError(
            f"Array {self.name!r}, chunk {index} ({file}): {reason}. Restore the file from a copy, "
            "or make the store again."
        )

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop (not included; None: the end), as a new array.

        Raises:
            IndexError: the range is not within the committed rows.
            CorruptStoreError: a chunk is missing or damaged.
        """
        stop = self.rows if stop is None else stop
        if not 0 <= start <= stop <= self.rows:
            raise IndexError(
                f"Expected rows within 0 to {self.rows} of array {self.name!r}, got {start}:{stop}."
            )
        out = np.empty((stop - start, *self.spec.row_shape), dtype=self.spec.dtype)
        size = self.spec.chunk_rows

        def copy(index: int) -> None:
            first = max(start, index * size)
            last = min(stop, (index + 1) * size)
            rows = self.chunk(index)
            out[first - start : last - start] = rows[first - index * size : last - index * size]

        if stop > start:
            for_each(copy, range(start // size, self.spec.chunks(stop)), DECODING_THREADS)
        return out

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Rows at ``indices`` (any order, repeats allowed), each chunk decoded once.

        Raises:
            IndexError: an index is not within 0 to rows - 1.
            CorruptStoreError: a chunk is missing or damaged.
        """
        indices = np.asarray(indices, dtype=np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < self.rows:
            raise IndexError(
                f"Expected rows within 0 to {self.rows - 1} of array {self.name!r}, "
                f"got {indices.min()} to {indices.max()}."
            )
        out = np.empty((len(indices), *self.spec.row_shape), dtype=self.spec.dtype)
        if not len(indices):
            return out
        owner = indices // self.spec.chunk_rows
        order = np.argsort(owner, kind="stable")
        chunks, starts = np.unique(owner[order], return_index=True)
        places = dict(zip(chunks.tolist(), np.split(order, starts[1:]), strict=True))

        def copy(index: int) -> None:
            where = places[index]
            rows = indices[where] - index * self.spec.chunk_rows
            out[_slice_if_run(where)] = self.chunk(index)[_slice_if_run(rows)]

        for_each(copy, list(places), DECODING_THREADS)
        return out


def _slice_if_run(indices: np.ndarray) -> np.ndarray | slice:
    """The same indices as a slice if they count up by one: copying is then several times faster."""
    first = int(indices[0])
    if np.array_equal(indices, np.arange(first, first + len(indices))):
        return slice(first, first + len(indices))
    return indices
