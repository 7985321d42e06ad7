"""What one growable array holds, and how its chunks are encoded.

Chunks are those of ordinary Zarr v3 arrays: little-endian bytes, Zstandard where it helps, CRC-32C.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]
from numpy.typing import DTypeLike

from egodtm_robot.core.errors import StoreArrayError

TARGET_CHUNK_BYTES = 640 * 1024
"""Uncompressed size that chunks are made for: 16 frames of 112 px, 4 of 224 px.

Measured: smaller chunks make reading whole episodes slower (files opened), larger ones make reading
single steps slower (bytes decoded in vain). Zarr's sharding was 2 to 3 times slower for both.
"""

MAXIMUM_CHUNK_ROWS = 1024
"""Bounds what an append of a few narrow rows has to rewrite."""

_ZSTD_LEVEL = 1
_CHECKSUM_BYTES = 4
_DTYPES = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)


@dataclass(frozen=True)
class ArraySpec:
    """What one growable array holds.

    Attributes:
        dtype: a NumPy number or bool type by name, stored little-endian.
        row_shape: shape of one row; () for a scalar.
        chunk_rows: rows a chunk file holds.
        compressed: whether chunks pass through Zstandard (images: yes, floats: no, for they do not
            get smaller).
    """

    dtype: str
    row_shape: tuple[int, ...]
    chunk_rows: int
    compressed: bool

    @classmethod
    def for_rows(cls, dtype: DTypeLike, row_shape: Sequence[int]) -> "ArraySpec":
        """Specification for rows of a type and shape, with this module's chunk size.

        Raises:
            StoreArrayError: the type is not a plain number or bool.
        """
        name = np.dtype(dtype).name
        if name not in _DTYPES:
            raise StoreArrayError(
                f"Expected an array of one of {', '.join(sorted(_DTYPES))}; got {name}."
            )
        row_bytes = np.dtype(name).itemsize * math.prod(row_shape)
        chunk_rows = min(MAXIMUM_CHUNK_ROWS, max(1, TARGET_CHUNK_BYTES // max(1, row_bytes)))
        return cls(
            dtype=name,
            row_shape=tuple(int(size) for size in row_shape),
            chunk_rows=chunk_rows,
            compressed=np.dtype(name).kind in "biu",
        )

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, uncompressed."""
        return np.dtype(self.dtype).itemsize * math.prod(self.row_shape)

    @property
    def storage_dtype(self) -> np.dtype:
        """The type as it lies on disk: little-endian."""
        return np.dtype(self.dtype).newbyteorder("<")

    def chunks(self, rows: int) -> int:
        """Number of chunks that hold ``rows`` rows."""
        return -(-rows // self.chunk_rows)

    def chunk_file(self, index: int) -> str:
        """File name of a chunk within the array's folder."""
        return "c." + ".".join([str(index)] + ["0"] * len(self.row_shape))

    def metadata(self, rows: int) -> bytes:
        """Content of the array's ``zarr.json`` when it has ``rows`` rows."""
        codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
        if self.compressed:
            codecs.append(
                {"name": "zstd", "configuration": {"level": _ZSTD_LEVEL, "checksum": False}}
            )
        codecs.append({"name": "crc32c"})
        content = {
            "shape": [rows, *self.row_shape],
            "data_type": self.dtype,
            "chunk_grid": {
                "name": "regular",
                "configuration": {
                    # Zarr allows no chunk of size 0, even along an axis of size 0.
                    "chunk_shape": [self.chunk_rows, *(max(1, size) for size in self.row_shape)]
                },
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": False if self.dtype == "bool" else 0,
            "codecs": codecs,
            "attributes": {},
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }
        return json.dumps(content).encode()

    def encode(self, rows: np.ndarray) -> bytes:
        """Bytes of a chunk that holds ``rows`` (at most chunk_rows), padded with zeros."""
        missing = self.chunk_rows - len(rows)
        if missing:
            padding = np.zeros((missing, *self.row_shape), dtype=self.storage_dtype)
            rows = np.concatenate([rows, padding])
        content = np.ascontiguousarray(rows, dtype=self.storage_dtype).tobytes()
        if self.compressed:
            content = bytes(Zstd(level=_ZSTD_LEVEL).encode(content))
        return content + google_crc32c.value(content).to_bytes(_CHECKSUM_BYTES, "little")

    def decode(self, content: bytes) -> np.ndarray:
        """The rows of a chunk, (chunk_rows, *row_shape), read-only.

        Raises:
            ValueError: the bytes are not those that ``encode`` made.
        """
        body = content[:-_CHECKSUM_BYTES]
        checksum = content[-_CHECKSUM_BYTES:]
        if google_crc32c.value(body).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
            raise ValueError("checksum does not match: bytes were changed or cut off")
        if self.compressed:
            try:
                body = Zstd().decode(body)
            except RuntimeError as error:
                raise ValueError(f"cannot be decompressed ({error})") from error
        expected = self.chunk_rows * self.row_bytes
        if len(body) != expected:
            raise ValueError(f"holds {len(body)} bytes in place of {expected}")
        return np.ndarray((self.chunk_rows, *self.row_shape), self.storage_dtype, body)
