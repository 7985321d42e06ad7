"""Weights that a pretraining starts from: ours, published ones, Hugging Face's CLIP."""

from collections.abc import Callable
from pathlib import Path

from egodtm_robot.core.errors import CheckpointError, CheckpointMismatchError
from egodtm_robot.core.published_models.files import read_tensors
from pretrain.checkpoints.families import as_published, differing_settings
from pretrain.checkpoints.files import load_checkpoint
from pretrain.checkpoints.huggingface import huggingface_clip_tensors, read_huggingface_clip
from pretrain.checkpoints.published import OPTIONAL_PARTS, initialize_from, our_names
from pretrain.checkpoints.shipped import SHIPPED_NAME, named_checkpoint
from pretrain.model import EgoDTM

_PUBLISHED_SUFFIXES = (".pt", ".pth", ".tar", ".bin")


def start_from(
    model: EgoDTM, source: str, report: Callable[[str], None] | None = None
) -> list[str]:
    """Give a model the weights that its training is to start from.

    Args:
        model: changed in place. Embeddings of place and time are resampled to its sizes.
        source: ``egodtm_tiny`` or ``egodtm_tiny_looks``, which come with the package; the path of
            one of ours (``.safetensors`` beside its card); a published one of EgoDTM, AVION or
            OpenAI's CLIP (``.pt``, ``.pth``, ``.tar``, ``.bin``, or ``.safetensors`` without a
            card); else a hub id such as ``openai/clip-vit-base-patch16`` or the folder of a
            ``transformers.CLIPModel``.
        report: takes one line that says what a published file was recognized as, and in which
            settings the model differs from it. The model keeps its own.

    Returns:
        Names of parameters that the checkpoint does not have and that stay as they are.

    Raises:
        CheckpointError: the file is missing or unreadable.
        WeightsError: a published file or a model of Hugging Face cannot be read.
        CheckpointMismatchError: lists tensors that are missing, unexpected or of another shape; or
            the checkpoint was shown the colors of patches, and the model is not.
    """
    path = Path(named_checkpoint(source)).expanduser()
    is_file = path.suffix == ".safetensors" or path.suffix in _PUBLISHED_SUFFIXES
    if is_file and not path.is_file():
        raise CheckpointError(
            f"Expected weights to start from at {path}, found no file. Name a checkpoint, or "
            f"initial={SHIPPED_NAME} for the one that comes with the package."
        )
    if path.suffix == ".safetensors" and path.with_suffix(".json").is_file():
        ours, _ = load_checkpoint(path)
        if ours.config.vision.patch_colors and not model.config.vision.patch_colors:
            # Not a head that could be left out: the blocks have learned with it.
            raise CheckpointMismatchError(
                f"Expected a model that is shown the colors of patches, as the one of {path}, got "
                "one without. Set model.vision.patch_colors=true."
            )
        tensors = ours.state_dict()
        for part in OPTIONAL_PARTS:
            if not any(name.startswith(part) for name in model.state_dict()):
                tensors = {n: t for n, t in tensors.items() if not n.startswith(part)}
        tensors.pop("logit_scale")
        return initialize_from(model, tensors, str(path))
    if is_file:
        return _start_from_published(model, path, report)
    theirs = read_huggingface_clip(source)
    return initialize_from(model, huggingface_clip_tensors(theirs.state_dict()), source)


def _start_from_published(
    model: EgoDTM, path: Path, report: Callable[[str], None] | None
) -> list[str]:
    tensors = read_tensors(path)
    published = as_published(tensors, path)
    if published is None:
        return initialize_from(model, our_names(tensors), str(path))
    needed = differing_settings(model.config, published, "fit")
    advice = (
        f"The file is of a model with {' '.join(needed)}"
        if needed
        else "Use a checkpoint of exactly this architecture."
    )
    has_decoder = "depth decoder" not in published.lacking
    plain = not published.config.depth_decoder.positions_in_values
    if has_decoder and plain == model.config.depth_decoder.positions_in_values:
        # Names and shapes are the same, and all depth maps would be wrong.
        raise CheckpointMismatchError(
            f"Expected {path} to hold a depth decoder of the model's own build, got one of the "
            f"{'plain' if plain else 'flash'}-attention build. {advice}"
        )
    lacking = initialize_from(model, published.tensors, str(path), advice)
    if report is not None:
        differing = differing_settings(model.config, published, "function")
        kept = f"; the model keeps its own settings, unlike {' '.join(differing)}"
        report(published.describe() + (kept if differing else ""))
    return lacking
