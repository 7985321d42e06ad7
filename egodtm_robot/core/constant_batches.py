"""Batches that always have the same number of rows, the last one filled up with zeros.

A matrix product chooses its kernel, and so its rounding, by shape. With one shape, the result for
a row cannot depend on how many other rows happened to come with it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch

ArrayT = TypeVar("ArrayT", np.ndarray, torch.Tensor)


def constant_batches(
    arrays: Mapping[str, ArrayT], size: int
) -> Iterator[tuple[dict[str, ArrayT], slice]]:
    """Cut arrays into batches of exactly ``size`` rows.

    Args:
        arrays: (B, ...) each, all with the same B; at least one array.
        size: rows a batch, at least 1.

    Yields:
        A batch (size, ...) under the same names, and which of the B rows it holds; rows of the
        batch beyond these are zeros. Without any row there is one batch of zeros, from which the
        shape of an empty result can be learned.
    """
    rows = len(next(iter(arrays.values())))
    for first in range(0, max(rows, 1), size):
        last = min(first + size, rows)
        yield (
            {name: _filled_up(array[first:last], size) for name, array in arrays.items()},
            slice(first, last),
        )


def _filled_up(part: ArrayT, size: int) -> ArrayT:
    shape = (size, *part.shape[1:])
    padded: Any = (
        np.zeros(shape, part.dtype) if isinstance(part, np.ndarray) else part.new_zeros(shape)
    )
    padded[: len(part)] = part
    return padded
