"""What the formats in HDF5 share: one episode a group, written as parts and joined."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from egodtm_robot.demos.convert.contract import ConversionError, Part
from egodtm_robot.demos.convert.packages import convert_package

Compression = str | None

_IMAGE_CHUNK_BYTES = 512 * 1024


def open_hdf5(path: Path, kind: str) -> Any:
    """A file, open for reading.

    Raises:
        ConversionError: there is none, or it is damaged.
        MissingPackageError: h5py is not installed.
    """
    h5py = convert_package("h5py", kind)
    if not Path(path).is_file():
        raise ConversionError(f"Expected an HDF5 file at {path}, found none.")
    try:
        # Data sets lie on network disks that do not lock.
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        raise ConversionError(
            f"Expected a whole HDF5 file at {path}, got one that does not open ({error}). Copy it "
            "again."
        ) from error


def columns_below(group: Any, without: Sequence[str] = ()) -> dict[str, tuple[np.dtype, tuple]]:
    """All arrays below a group by their path: (type, shape).

    Args:
        group: of an open file.
        without: names of groups and arrays at the top that are passed over.
    """
    found: dict[str, tuple[np.dtype, tuple]] = {}

    def visit(name: str, item: Any) -> None:
        if hasattr(item, "shape") and name.split("/")[0] not in without:
            found[name] = (item.dtype, tuple(item.shape))

    group.visititems(visit)
    return found


def text_columns(layout: Mapping[str, tuple[np.dtype, tuple]], what: str) -> list[str]:
    """Names of the arrays that hold text, which a store keeps in the notes of an episode.

    Args:
        layout: see :func:`columns_below`.
        what: is read, for messages.

    Raises:
        ConversionError: an array holds neither numbers nor text.
    """
    h5py = convert_package("h5py", "hdf5")
    found = []
    for name, (dtype, _) in layout.items():
        if dtype.kind in "biuf":
            continue
        if dtype.kind != "S" and h5py.check_string_dtype(dtype) is None:
            raise ConversionError(
                f"Expected numbers or text in {name!r} of {what}, got {dtype}. Remove the array."
            )
        found.append(name)
    return found


def read_texts(group: Any, names: Sequence[str]) -> dict[str, Any]:
    """Arrays of text, as JSON can hold them."""
    return {name: _plain(group[name][()]) for name in names if name in group}


def write_texts(group: Any, texts: Mapping[str, Any]) -> None:
    """What :func:`read_texts` gave."""
    h5py = convert_package("h5py", "hdf5")
    for name, text in texts.items():
        group.create_dataset(name, data=text, dtype=h5py.string_dtype(), track_times=False)


def write_array(group: Any, name: str, values: np.ndarray, compression: Compression) -> None:
    """One array; images in chunks of whole frames, compressed if asked for."""
    options: dict[str, Any] = {}
    if values.ndim == 4 and len(values) and compression is not None:
        frames = max(1, min(len(values), _IMAGE_CHUNK_BYTES // max(1, values[0].nbytes)))
        options = {"chunks": (frames, *values.shape[1:]), "compression": compression}
    # No times: the same store gives the same bytes.
    group.create_dataset(name, data=values, track_times=False, **options)


def join_parts(
    parts: Sequence[Part],
    out: Path,
    names: Sequence[str],
    *,
    below: str = "/",
    attributes: Mapping[str, Mapping[str, Any]],
) -> None:
    """One file of all parts, whose chunks are copied as they are.

    Args:
        parts: each with a file ``episode.hdf5`` that holds a group ``episode``.
        out: the file to write.
        names: of the groups, one for each part.
        below: group that they are put in.
        attributes: by the path of a group its attributes.
    """
    h5py = convert_package("h5py", "hdf5")
    with h5py.File(out, "w", libver="latest", track_order=True) as file:
        target = file.require_group(below)
        for part, name in zip(parts, names, strict=True):
            with h5py.File(part.folder / "episode.hdf5", "r") as episode:
                episode.copy("episode", target, name)
        for path, values in attributes.items():
            group = file.require_group(path)
            for name, value in values.items():
                group.attrs[name] = value
    descriptor = os.open(out, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def plain_attributes(attributes: Any) -> dict[str, Any]:
    """Attributes of HDF5 as JSON can hold them."""
    return {str(name): _plain(value) for name, value in attributes.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in value.tolist()]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def json_attribute(attributes: Any, name: str, what: str) -> Any:
    """An attribute that holds JSON, or None.

    Raises:
        ConversionError: it holds something else.
    """
    if name not in attributes:
        return None
    try:
        return json.loads(_plain(attributes[name]))
    except (TypeError, ValueError) as error:
        raise ConversionError(f"Expected JSON in {name!r} of {what}, got {error}.") from error
