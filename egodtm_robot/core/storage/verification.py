"""Reading every byte of a store and naming what was changed."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from egodtm_robot.core.storage.commit_record import sha256
from egodtm_robot.core.storage.committed_array import DECODING_THREADS, CommittedArray
from egodtm_robot.core.storage.digests import new_digest


@dataclass(frozen=True)
class Problem:
    """Something that :meth:`CommittedGroup.verify` found.

    Attributes:
        array: name of the array, or of the file if no single array is concerned.
        chunk: index of the chunk, None if the problem is not in a chunk.
        message: what is wrong.
    """

    array: str
    chunk: int | None
    message: str

    def __str__(self) -> str:
        place = self.array if self.chunk is None else f"{self.array}, chunk {self.chunk}"
        return f"{place}: {self.message}"


def verify_snapshot(
    root: Path, record: Mapping[str, Any], arrays: Mapping[str, CommittedArray]
) -> list[Problem]:
    """Compare every byte of one commit with what was written.

    Args:
        root: folder of the Zarr hierarchy.
        record: the commit record.
        arrays: the group's arrays by name, as of that record.

    Returns:
        What was found, in the order of the arrays.
    """
    problems = []
    for path, hashes in record["metadata"].items():
        name = str(Path(path).parent) if path != "zarr.json" else path
        try:
            found = sha256((root / path).read_bytes())
        except OSError:
            problems.append(Problem(name, None, f"metadata file {path} is missing"))
            continue
        if found not in (hashes["sha256"], hashes["earlier"]):
            problems.append(Problem(name, None, f"metadata file {path} was changed"))
    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        for array in arrays.values():
            problems += _verify_array(
                array, sorted(arrays).index(array.name), record["commits"], pool
            )
    return problems


def _verify_array(
    array: CommittedArray,
    column: int,
    commits: Sequence[Mapping[str, Any]],
    pool: ThreadPoolExecutor,
) -> list[Problem]:
    """Problems of one array, whose rows are in that column of the commits."""
    problems: list[Problem] = []

    def load(index: int) -> np.ndarray | str:
        try:
            file = array.folder / array.spec.chunk_file(index)
            rows = array.spec.decode(file.read_bytes())
            return rows[: array.rows - index * array.spec.chunk_rows]
        except FileNotFoundError:
            return "the file is missing"
        except (OSError, ValueError) as error:
            return str(error)

    def chunks() -> Iterator[np.ndarray | str]:
        # A bounded window, so that an array larger than memory can be checked.
        window = 4 * DECODING_THREADS
        for start in range(0, array.spec.chunks(array.rows), window):
            stop = min(start + window, array.spec.chunks(array.rows))
            yield from pool.map(load, range(start, stop))

    # Walk chunks and commits side by side; a commit that touches a damaged chunk has no digest.
    bounds = np.cumsum([0] + [commit["rows"][column] for commit in commits])
    number = 0
    digest = new_digest()
    whole = True
    row = 0
    for index, loaded in enumerate(chunks()):
        stop = min((index + 1) * array.spec.chunk_rows, array.rows)
        if isinstance(loaded, str):
            problems.append(Problem(array.name, index, loaded))
        start = row
        while row < stop or (number < len(commits) and bounds[number + 1] == row):
            end = min(stop, int(bounds[number + 1]))
            if isinstance(loaded, str):
                whole = whole and end == row
            else:
                digest.update(np.ascontiguousarray(loaded[row - start : end - start]))
            row = end
            if row < bounds[number + 1]:
                break
            if whole and digest.hexdigest() != commits[number]["digests"][column]:
                problems.append(
                    Problem(array.name, index, f"the rows of commit {number} were changed")
                )
            number, digest, whole = number + 1, new_digest(), True
    return problems
