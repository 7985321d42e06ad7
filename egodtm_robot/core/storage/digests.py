"""Digests of the rows of a commit."""

import hashlib
from typing import Any

import numpy as np

_DIGEST_BYTES = 8


def new_digest() -> Any:
    """A BLAKE2b to feed with rows."""
    return hashlib.blake2b(digest_size=_DIGEST_BYTES)


def digest_of(rows: np.ndarray) -> str:
    """Hexadecimal digest of rows, as they lie on disk."""
    digest = new_digest()
    digest.update(np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("<")))
    return str(digest.hexdigest())
