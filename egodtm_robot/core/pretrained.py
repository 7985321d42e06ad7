"""Published models of transformers: by hub id or folder, completely or not at all."""

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError

LOADING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    SafetensorError,
    pickle.UnpicklingError,
)
"""What transformers raises for a model that is not there, unreadable or of another kind."""

_LISTED = 20


def from_pretrained(model_class: Any, source: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A model in float32, and which of its tensors the checkpoint did not have as it should.

    Args:
        model_class: a class of transformers with ``from_pretrained``, or one of its Auto classes.
        source: hub id, or a folder that ``save_pretrained`` wrote.
        options: for ``from_pretrained``.

    Raises:
        Exception: one of LOADING_ERRORS.
    """
    # Tensors that a checkpoint lacks would be drawn from the global generator before
    # :func:`mismatched_tensors` has them refused.
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        model, info = model_class.from_pretrained(
            source,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    return model, info


def mismatched_tensors(
    source: str, model: Any, info: Mapping[str, Any], belongs: Callable[[str], bool]
) -> str | None:
    """A message with all tensors that do not match, or None where every one does.

    Args:
        source: where the checkpoint came from.
        model: what it was loaded into.
        info: of :func:`from_pretrained`.
        belongs: whether a name that the model does not know makes the checkpoint another model's.
    """
    problems = [f"missing    {name}" for name in sorted(info["missing_keys"])]
    problems += [f"unexpected {name}" for name in sorted(info["unexpected_keys"]) if belongs(name)]
    problems += [
        f"shape      {name}: expected {tuple(expected)}, got {tuple(found)}"
        for name, found, expected in sorted(info["mismatched_keys"])
    ]
    if not problems:
        return None
    listed = "\n  ".join(problems[:_LISTED])
    return (
        f"{len(problems)} tensors of {source} do not match {type(model).__name__}:\n  {listed}\n"
        "Use a checkpoint whose config.json describes its tensors."
    )


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type's name."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No report and no bar while loading: what is wrong raises an error."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
