"""Files of tensors, as training scripts leave them, read without running anything in them."""

import argparse
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar as numpy_scalar
from safetensors import SafetensorError
from safetensors.torch import load_file

from egodtm_robot.core.errors import WeightsError

_PLACES = ("state_dict", "model", "r3m", "vip")
"""Keys under which published files hold their dictionary of tensors."""


class _StandIn:
    """Takes the place of an object of a training script: nothing is made of what it held."""

    def __new__(cls, *_: Any) -> "_StandIn":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


_HARMLESS: list[Any] = [
    # The script's arguments. A namespace takes attributes and runs nothing.
    argparse.Namespace,
    # Metrics that a script did not turn into plain numbers. They are made of a type and bytes.
    (numpy_scalar, "numpy.core.multiarray.scalar"),
    (numpy_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
    np.dtypes.BoolDType,
    # The configuration of EgoVLP's and EgoVLPv2's scripts, a class of their own, and its paths.
    *(
        (_StandIn, name)
        for name in (
            "parse_config.ConfigParser",
            "parse_config_dist_multi.ConfigParser",
            "pathlib.PosixPath",
            "pathlib._local.PosixPath",
        )
    ),
]
"""What a pickle may hold beside tensors and plain values."""


def read_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a flat dictionary of tensors from a safetensors file or a torch file.

    Torch files are read with ``weights_only=True``: a pickle that would run code is refused. Those
    of training scripts hold the dictionary under a key (``state_dict``, ``model``, ``r3m``,
    ``vip``) or first in a tuple, beside an optimizer, counters and the script's arguments; the rest
    is left.

    Args:
        path: of the file; one that ends in ``.safetensors`` is read as such.

    Raises:
        WeightsError: the file is missing, damaged, hostile, or holds no dictionary of tensors.
    """
    path = existing_file(path)
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise _unreadable(path, error) from error
    if _is_torchscript(path):
        raise WeightsError(
            f"Expected {path} to hold plain tensors, got a TorchScript archive (as OpenAI "
            "publishes CLIP), which is a program. If you trust it, write its tensors to a file: "
            'torch.save(torch.jit.load(PATH, "cpu").state_dict(), "tensors.pt")'
        )
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from error
    except Exception as error:
        # What a damaged archive raises has no common base class.
        raise _unreadable(path, error) from error
    return _tensors_in(content, path)


def existing_file(path: str | Path) -> Path:
    """A path that leads to a file.

    Raises:
        WeightsError: it does not.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"Expected a checkpoint file at {path}, found none.")
    return path


def _tensors_in(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The dictionary of tensors in what a file holds."""
    candidates = [content]
    if isinstance(content, Mapping):
        candidates += [content.get(key) for key in _PLACES]
    elif isinstance(content, Sequence):
        candidates += content[:1]
    for candidate in candidates:
        if (
            isinstance(candidate, Mapping)
            and candidate
            and all(isinstance(value, torch.Tensor) for value in candidate.values())
        ):
            return dict(candidate)
    found = type(content).__name__
    if isinstance(content, Mapping):
        found += f" with the keys {', '.join(repr(key) for key in list(content)[:10])}"
    raise WeightsError(
        f"Expected {path} to hold a flat dictionary of tensors, by itself, under one of the keys "
        f"{', '.join(_PLACES)}, or first in a tuple; got {found}."
    )


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _refused(path: Path, error: Exception) -> WeightsError:
    """What to say of a pickle that holds more than tensors."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    if found is None:
        return _unreadable(path, error)  # a damaged pickle
    return WeightsError(
        f"Expected {path} to hold plain tensors, got a pickle of {found[1]} as well, "
        "which is refused because it could run code. Nothing in it was executed. If you trust "
        "where it comes from, convert it where that code is installed: "
        'torch.save(torch.load(PATH, weights_only=False)["state_dict"], "tensors.pt")'
    )


def _unreadable(path: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"Expected {path} to be a safetensors file or a torch file of plain tensors, and could not "
        f"read it as one ({type(error).__name__}). Nothing in it was executed. The file is damaged "
        "or of another format: fetch it again, or convert it to safetensors."
    )
