"""Models of transformers, by hub id or folder: completely or not at all, from safetensors alone."""

import math
import pickle
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError

from egodtm_robot.core.errors import WeightsError
from egodtm_robot.core.published_models.matching import refuse_mismatches

_LOADING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    SafetensorError,
    pickle.UnpicklingError,
)
"""What transformers raises for a model that is not there, unreadable or of another kind."""

_CHOOSE_ANOTHER = "Only encoder=huggingface can be told to trust it: choose another model."

_PATIENCE_S = 3.0
"""How long the hub may take to answer before it counts as out of reach, seconds."""

_REMEMBERED_S = 60.0
"""How long a hub that was out of reach is not tried again, seconds: a model has several files."""

_silent_since: dict[str, float] = {}
"""When a hub was found out of reach, by its address, seconds of the monotonic clock."""


def load_model(
    model_class: Any,
    source: str,
    revision: str | None = None,
    belongs: Callable[[str, Any], bool] | None = None,
    **options: Any,
) -> Any:
    """Load a model in float32 and evaluation mode; every tensor of it comes from the checkpoint.

    Only safetensors are read, and torch's global generator is left as it was.

    Args:
        model_class: a class of transformers with ``from_pretrained``, or one of its Auto classes.
        source: hub id, or a folder that ``save_pretrained`` wrote.
        revision: branch, tag or commit on the hub.
        belongs: whether a tensor that is left over, given by its name and the model, makes the
            checkpoint another model's. By default every one does but those of no weight.
        options: further ones of ``from_pretrained``.

    Raises:
        WeightsError: as of :func:`load_partly`.
        CheckpointMismatchError: lists tensors that are missing, unexpected or of another shape.
    """
    model, info = load_partly(model_class, source, revision, **options)
    belongs = belongs or _has_weight
    refuse_mismatches(
        missing=[(name, None) for name in sorted(info["missing_keys"])],
        unexpected=[
            (name, None) for name in sorted(info["unexpected_keys"]) if belongs(name, model)
        ],
        reshaped=[
            (name, tuple(expected), tuple(found))
            for name, found, expected in sorted(info["mismatched_keys"])
        ],
        account=f"{source} do not match {type(model).__name__}",
        advice="Use a checkpoint whose config.json describes its tensors.",
    )
    return model.eval().requires_grad_(False)


def load_partly(
    model_class: Any, source: str, revision: str | None = None, seed: int = 0, **options: Any
) -> tuple[Any, Mapping[str, Any]]:
    """Load a model in float32 whose checkpoint may lack some of its tensors.

    Args:
        model_class: see :func:`load_model`.
        source: see :func:`load_model`.
        revision: see :func:`load_model`.
        seed: of the tensors that the checkpoint lacks or has in another shape.
        options: further ones of ``from_pretrained``.

    Returns:
        The model, and transformers' ``missing_keys``, ``unexpected_keys`` and ``mismatched_keys``.

    Raises:
        WeightsError: the model is not to be had, not readable, or needs code of its own and
            ``options`` do not hold ``trust_remote_code=True``.
    """
    kind = getattr(model_class, "__name__", str(model_class))
    expected = f"a model that {kind} knows, with config.json and model.safetensors"
    if not options.setdefault("trust_remote_code", False):
        # Asked without an answer, transformers would ask the user whether to run the code.
        _refuse_code_brought_along(source, revision, expected, _CHOOSE_ANOTHER)
    # Tensors that a checkpoint lacks are drawn from the global generator.
    with loading(source, expected), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, info = model_class.from_pretrained(
            source,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **hub_options(source, revision),
            **options,
        )
    return model, info


def load_config(source: str, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """The configuration of a model, as transformers' class for its kind.

    Args:
        source: hub id or folder.
        revision: branch, tag or commit on the hub.
        trust_remote_code: whether code that the model brings along may be run.

    Raises:
        WeightsError: there is none, or the model needs code of its own that is not trusted.
    """
    from transformers import AutoConfig

    if not trust_remote_code:
        _refuse_code_brought_along(
            source,
            revision,
            "a model with config.json",
            "If you have read that code and trust it, set trust_remote_code=true.",
        )
    with loading(source, "a model with config.json"):
        return AutoConfig.from_pretrained(
            source, trust_remote_code=trust_remote_code, **hub_options(source, revision)
        )


def _refuse_code_brought_along(
    source: str, revision: str | None, expected: str, advice: str
) -> None:
    """Raise WeightsError for a model of a kind that only its own code knows."""
    from transformers import PretrainedConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    with loading(source, expected):
        content, _ = PretrainedConfig.get_config_dict(source, **hub_options(source, revision))
    kind = content.get("model_type")
    if "auto_map" in content and kind not in CONFIG_MAPPING:
        raise WeightsError(
            f"Expected {source!r} to be a kind of model that transformers knows, got {kind!r}, "
            f"which brings its own code along ({', '.join(sorted(content['auto_map']))}). It is "
            f"not run. {advice}"
        )


def load_processor_config(source: str, revision: str | None = None) -> dict[str, Any]:
    """The content of ``preprocessor_config.json`` beside a model.

    Raises:
        WeightsError: there is none.
    """
    from transformers.image_processing_base import ImageProcessingMixin

    with loading(source, "a model with preprocessor_config.json"):
        content, _ = ImageProcessingMixin.get_image_processor_dict(
            source, **hub_options(source, revision)
        )
    return dict(content)


def load_tokenizer(source: str, revision: str | None = None, **options: Any) -> Any:
    """The tokenizer beside a model.

    Raises:
        WeightsError: there is none, it knows no word, or the model needs code of its own.
    """
    from transformers import AutoTokenizer

    if "gguf_file" not in options:
        _refuse_code_brought_along(source, revision, "a model with its tokenizer", _CHOOSE_ANOTHER)
    with loading(source, "a model with its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            source, trust_remote_code=False, **hub_options(source, revision), **options
        )
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        # Without files transformers makes a tokenizer that knows no word.
        raise WeightsError(
            f"Expected the tokenizer of {source!r} beside it, found none. Copy all files of the "
            "model, tokenizer.json among them."
        )
    return tokenizer


def hub_options(source: str, revision: str | None = None) -> dict[str, Any]:
    """What every call of transformers is given.

    A hub that cannot be reached is not asked: transformers would try for half a minute.
    """
    options: dict[str, Any] = {"revision": revision}
    if not Path(source).expanduser().is_dir() and not _hub_answers():
        options["local_files_only"] = True
    return options


@contextmanager
def loading(source: str, expected: str) -> Iterator[None]:
    """Loading of a model: quiet, and with one error for whatever transformers raises.

    Args:
        source: hub id or folder.
        expected: what it should be.

    Raises:
        WeightsError: the block raised one of transformers' errors.
    """
    try:
        with _quiet_transformers():
            yield
    except _LOADING_ERRORS as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise WeightsError(
            f"Expected {source!r} to be a hub id, or a folder, of {expected}; could not load it "
            f"({type(error).__name__}: {reason}). Without a network, give the path of a copy."
        ) from error


def _has_weight(name: str, model: Any) -> bool:
    return not name.endswith(("position_ids", "num_batches_tracked"))


def _hub_answers() -> bool:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    address = urlsplit(constants.ENDPOINT)
    if address.scheme in urllib.request.getproxies():
        return True  # whether the proxy reaches it only a request can tell
    if time.monotonic() - _silent_since.get(constants.ENDPOINT, -math.inf) < _REMEMBERED_S:
        return False
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname or "", port), timeout=_PATIENCE_S).close()
    except OSError:
        _silent_since[constants.ENDPOINT] = time.monotonic()
        return False
    return True


@contextmanager
def _quiet_transformers() -> Iterator[None]:
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
