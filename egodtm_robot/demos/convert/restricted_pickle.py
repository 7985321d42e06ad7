"""Reads pickles of arrays and plain containers, and nothing else.

A pickle is a program that may call whatever it names. Here it may name only what rebuilds arrays of
numbers; anything else is refused before it is called.
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from egodtm_robot.demos.convert.contract import ConversionError

_PLAIN_KINDS = "biufcSU"
"""Kinds of NumPy types that hold values: truth, numbers, text. No objects, no records."""


class UnsafePickleError(ConversionError):
    """A pickle names something that is neither an array nor a plain container."""


def load_arrays(path: Path) -> Any:
    """What a pickle holds: arrays, numbers, text, and lists, tuples, sets and dictionaries of them.

    Args:
        path: of the file.

    Raises:
        UnsafePickleError: it names anything else; nothing of it was called.
        ConversionError: it is no pickle, or is cut short.
    """
    if not path.is_file():
        raise ConversionError(f"Expected a pickle at {path}, found none.")
    with path.open("rb") as file:
        try:
            return _finished(_ArrayUnpickler(file, path).load())
        except ConversionError:
            raise
        except Exception as error:  # a damaged pickle fails in any way
            raise ConversionError(
                f"Expected a whole pickle at {path}, got {type(error).__name__}: {error}. Copy it "
                "again."
            ) from error


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """Only the makers of arrays, whatever version of NumPy has written them."""
        today = {"__builtin__": "builtins"}.get(module, module)
        found = _ALLOWED.get((today.replace("numpy._core", "numpy.core"), name))
        if found is None:
            raise UnsafePickleError(
                f"Expected arrays and plain containers in {self._path}, but the pickle names "
                f"{module}.{name}, which could do anything. It was not called. Get the data in "
                "another format, or from whom you trust, and convert it where it was made."
            )
        return found

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse what lies outside of the pickle."""
        raise UnsafePickleError(
            f"Expected arrays and plain containers in {self._path}, but the pickle refers to "
            f"something outside of it ({pid!r})."
        )


class _Type:
    """The type of an array's numbers, as the pickle spells it."""

    def __init__(self, kind: Any, align: Any = False, copy: Any = False) -> None:
        found = np.dtype(kind) if isinstance(kind, str) else None
        if found is None or found.kind not in _PLAIN_KINDS:
            raise UnsafePickleError(f"Expected an array of numbers or text, got one of {kind!r}.")
        self.dtype = found

    def __setstate__(self, state: Any) -> None:
        _, order, parts, names, *_ = state
        if order not in ("<", ">", "|", "=") or parts is not None or names is not None:
            raise UnsafePickleError(f"Expected a type of plain numbers, got the state {state!r}.")
        if order in "<>":
            self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """An array that is being rebuilt."""

    values: np.ndarray

    def __init__(self, kind: Any, shape: Any, code: Any) -> None:
        if kind is not _NDARRAY:
            raise UnsafePickleError(f"Expected a plain array, got one of {kind!r}.")

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        if isinstance(content, str):  # of Python 2
            content = content.encode("latin1")
        self.values = _from_buffer(content, kind, shape, "F" if fortran else "C")


def _from_buffer(content: Any, kind: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(kind, _Type):
        raise UnsafePickleError(f"Expected an array of numbers or text, got one of {kind!r}.")
    found: np.ndarray = np.frombuffer(bytes(content), kind.dtype)
    return found.reshape(shape, order="F" if order == "F" else "C")


def _scalar(kind: Any, content: Any = b"") -> Any:
    if isinstance(content, str):
        content = content.encode("latin1")
    return _from_buffer(content, kind, (1,), "C")[0]


def _no_bytes() -> bytes:
    """Old protocols have no other way to say empty bytes."""
    return b""


def _bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise UnsafePickleError(f"Expected bytes as latin1, got {encoding!r}.")
    return text.encode("latin1")


def _finished(value: Any, depth: int = 0) -> Any:
    """The value with every array that was rebuilt in its place."""
    if depth > _DEEPEST:
        raise UnsafePickleError(f"Expected containers within {_DEEPEST} others, got deeper ones.")
    if isinstance(value, _Array):
        return value.values
    if isinstance(value, dict):
        return {key: _finished(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_finished(one, depth + 1) for one in value)
    return value


_NDARRAY = object()
"""Stands for the class of arrays, which the pickle may name but not call."""

_DEEPEST = 50

# Stand-ins throughout: NumPy's own functions take states that no file should be able to give.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _bytes,
    ("builtins", "bytes"): _no_bytes,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
}
