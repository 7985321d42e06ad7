"""Loading of published models of transformers: by hub id or folder, completely or not at all."""

import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from pretrain.annotate.errors import AnnotatorOptionError, AnnotatorWeightsError

_LISTED = 20


def load_pretrained(model_class: Any, model: str, revision: str | None = None) -> Any:
    """Load a model of transformers in float32 and evaluation mode.

    Nothing is unpickled, and no code that a model brings along is run.

    Args:
        model_class: a class of transformers with ``from_pretrained``, or one of its Auto classes.
        model: hub id, or a folder that ``save_pretrained`` wrote.
        revision: branch, tag or commit on the hub.

    Raises:
        AnnotatorWeightsError: the model is not to be had, not readable, or its tensors are not
            those that its configuration describes.
    """
    from safetensors import SafetensorError

    try:
        # Tensors that a checkpoint lacks would be drawn from the global generator before the check
        # below refuses them.
        with torch.random.fork_rng(devices=[]), quiet_transformers():
            loaded, info = model_class.from_pretrained(
                model,
                revision=revision,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        SafetensorError,
        pickle.UnpicklingError,
    ) as error:
        raise _not_loadable(model, model_class, error) from error
    _check(model, loaded, info)
    return loaded.eval().requires_grad_(False)


def load_processor_config(model: str, revision: str | None = None) -> dict[str, Any]:
    """The content of ``preprocessor_config.json`` beside a model.

    Raises:
        AnnotatorWeightsError: there is none.
    """
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        return ImageProcessingMixin.get_image_processor_dict(model, revision=revision)[0]
    except (OSError, ValueError, KeyError) as error:
        raise AnnotatorWeightsError(
            f"Expected preprocessor_config.json beside the model {model!r}, and found none "
            f"({_first_line(error)})."
        ) from error


def choose_device(device: str) -> torch.device:
    """``auto`` for the first GPU, or the CPU without one; otherwise as torch names devices.

    Raises:
        AnnotatorOptionError: torch knows no such device, or this machine has none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise AnnotatorOptionError(
            f"Expected device to be auto, cpu, or a GPU of this machine such as cuda:0, got "
            f"{device!r} ({_first_line(error)})."
        ) from error
    return chosen


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


def _check(path: str, model: Any, info: Mapping[str, Any]) -> None:
    problems = [f"missing    {name}" for name in sorted(info["missing_keys"])]
    problems += [
        f"unexpected {name}"
        for name in sorted(info["unexpected_keys"])
        if not name.endswith(("position_ids", "num_batches_tracked"))
    ]
    problems += [
        f"shape      {name}: expected {tuple(expected)}, got {tuple(found)}"
        for name, found, expected in sorted(info["mismatched_keys"])
    ]
    if problems:
        listed = "\n  ".join(problems[:_LISTED])
        raise AnnotatorWeightsError(
            f"{len(problems)} tensors of {path} do not match {type(model).__name__}:\n  {listed}\n"
            "Use a checkpoint whose config.json describes its tensors."
        )


def _not_loadable(model: str, model_class: Any, error: Exception) -> AnnotatorWeightsError:
    kind = getattr(model_class, "__name__", str(model_class))
    return AnnotatorWeightsError(
        f"Expected {model!r} to be a hub id, or a folder with config.json and model.safetensors, "
        f"of a model that {kind} knows; could not load it ({type(error).__name__}: "
        f"{_first_line(error)}). Without a network, give the path of a copy."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
