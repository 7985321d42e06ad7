"""Loading of published models of transformers: by hub id or folder, completely or not at all."""

from typing import Any

import torch

from egodtm_robot.core.pretrained import (
    LOADING_ERRORS,
    first_line,
    from_pretrained,
    mismatched_tensors,
)
from pretrain.annotate.errors import AnnotatorOptionError, AnnotatorWeightsError


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
    try:
        loaded, info = from_pretrained(model_class, model, revision=revision, use_safetensors=True)
    except LOADING_ERRORS as error:
        raise _not_loadable(model, model_class, error) from error
    problems = mismatched_tensors(model, loaded, info, _belongs)
    if problems:
        raise AnnotatorWeightsError(problems)
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
            f"({first_line(error)})."
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
            f"{device!r} ({first_line(error)})."
        ) from error
    return chosen


def _belongs(name: str) -> bool:
    return not name.endswith(("position_ids", "num_batches_tracked"))


def _not_loadable(model: str, model_class: Any, error: Exception) -> AnnotatorWeightsError:
    kind = getattr(model_class, "__name__", str(model_class))
    return AnnotatorWeightsError(
        f"Expected {model!r} to be a hub id, or a folder with config.json and model.safetensors, "
        f"of a model that {kind} knows; could not load it ({type(error).__name__}: "
        f"{first_line(error)}). Without a network, give the path of a copy."
    )
