"""Published checkpoints by their names: EgoDTM, AVION and OpenAI's CLIP.

They are one family: CLIP's two transformers, with an embedding of time and decoders added by the
later ones. Names differ in prefixes and in how attention and feed-forward are spelt, by the library
that computed them; :func:`our_names` brings them to one spelling, and everything else is matched
tensor by tensor.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch.nn import functional

from egodtm_robot.core.errors import CheckpointMismatchError
from egodtm_robot.core.published_models.files import read_tensors
from egodtm_robot.core.published_models.matching import report_mismatches
from pretrain.model import EgoDTM

# Applied in order to every name.
_SPELLINGS = [
    (r"^module\.", ""),
    (r"^backbone\.", ""),
    # The text encoder's parts lie at the top in CLIP and LaViLa.
    (r"^(transformer|token_embedding|positional_embedding|ln_final)\b", r"textual.\1"),
    (r"^text_projection$", "textual.text_projection"),
    (r"^visual\.(proj|image_projection)$", "image_projection"),
    (r"^(input_proj|fpn|mask_features|decoder)\.", r"depth_decoder.\1."),
    # torch's own attention and CLIP's feed-forward against flash-attention's.
    (r"\.(attn|self_attn)\.in_proj_(weight|bias)$", r".\1.Wqkv.\2"),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"(\.transformer_ffn_layers\.\d+)\.linear([12])\.", r"\1.mlp.fc\2."),
]

_LEFT_OUT = (
    # A head for matching pairs, which the published loss does not use.
    "vtm_head.weight",
    "vtm_head.bias",
    # The classifier of AVION's fine-tuned models.
    "fc_cls.weight",
    "fc_cls.bias",
    # Ours is fixed by the configuration.
    "logit_scale",
    # Settings that OpenAI stored as tensors.
    "input_resolution",
    "context_length",
    "vocab_size",
)

OPTIONAL_PARTS = (
    "visual.patch_colors.",
    "depth_decoder.",
    "region_decoder.",
    "region_decoder.name_embed.",
    "entity_decoder.",
)
"""Parts that a checkpoint has whole or not at all."""


def our_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Published tensors under the names of :class:`pretrain.model.EgoDTM`, in float32.

    What the model has no place for on purpose (the head for matching, the temperature) is left out;
    names that no rule knows stay as they are.

    Args:
        tensors: of EgoDTM, AVION or CLIP by OpenAI's names; with or without the prefix
            ``module.``.
    """
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in _SPELLINGS:
            name = re.sub(pattern, replacement, name)
        if name == "visual.conv1.weight":
            tensor = tensor.flatten(1)  # a convolution by patches is a linear map of their pixels
        if name not in _LEFT_OUT:
            renamed[name] = tensor.float()
    return renamed


def load_published(model: EgoDTM, path: str | Path) -> list[str]:
    """Give a model the weights of a published checkpoint.

    Args:
        model: changed in place.
        path: a safetensors file, or a torch file, of which nothing is executed.

    Returns:
        Names of parameters that the checkpoint does not have and that stay as they are, as
        :func:`initialize_from`.

    Raises:
        WeightsError: the file cannot be read.
        CheckpointMismatchError: see :func:`initialize_from`.
    """
    return initialize_from(model, our_names(read_tensors(path)), str(path))


def refuse_other_models(names: Iterable[str], origin: str) -> None:
    """Refuse files of models that ours cannot be, by their names.

    Raises:
        CheckpointMismatchError: the file holds a TimeSformer, or CLIP as transformers spells it.
    """
    names = {name.removeprefix("module.") for name in names}
    if any(name.startswith(("visual.blocks.", "video_model.")) for name in names):
        raise CheckpointMismatchError(
            f"Expected a ViT with joint attention over space and time; {origin} holds a "
            "TimeSformer with divided attention, as LaViLa and EgoVLP publish them. Choose lavila, "
            "egovlp or egovlpv2, which read it, or use a ViT of EgoDTM, AVION or CLIP."
        )
    if any(name.startswith("vision_model.") for name in names):
        raise CheckpointMismatchError(
            f"Expected the names of EgoDTM, AVION or OpenAI's CLIP; {origin} holds CLIP as "
            "transformers spells it. Name its folder, which says what its weights do not: "
            "encoder=huggingface encoder.model=FOLDER, or initial=FOLDER for a pretraining."
        )


def initialize_from(
    model: EgoDTM,
    tensors: Mapping[str, torch.Tensor],
    origin: str,
    advice: str = "Use a checkpoint of exactly this architecture.",
) -> list[str]:
    """Copy tensors into a model, part by part.

    Both encoders must be complete. Embeddings of place and time are resampled to the model's grid
    and number of frames. What may be lacking: the embedding of time, a decoder as a whole, and, if
    the joint space has another width, its two projections.

    Args:
        model: changed in place, or not at all if something does not match.
        tensors: by our names, see :func:`our_names`.
        origin: where they come from, for the error message.
        advice: what to do about tensors that do not match, for the error message.

    Returns:
        Names of parameters that stay as they are.

    Raises:
        CheckpointMismatchError: lists tensors that are missing, unexpected or of another shape.
    """
    refuse_other_models(tensors, origin)
    own = model.state_dict()
    found = _resampled(model, tensors)
    kept = {"logit_scale"}
    for part in OPTIONAL_PARTS:
        if not any(name.startswith(part) for name in found):
            kept |= {name for name in own if name.startswith(part)}
    if "visual.temporal_embedding" not in found:
        kept.add("visual.temporal_embedding")
    projections = ("image_projection", "textual.text_projection")
    widths = {found[name].shape[1] for name in projections if name in found}
    if widths != {model.config.joint_width}:
        kept |= set(projections)
        found = {name: tensor for name, tensor in found.items() if name not in projections}
    report_mismatches(
        expected={name: tuple(t.shape) for name, t in own.items() if name not in kept},
        found={name: tuple(tensor.shape) for name, tensor in found.items()},
        origin=origin,
        advice=advice,
    )
    model.load_state_dict(found, strict=False)
    if "visual.temporal_embedding" in kept:
        # Weights of pictures know no time; what stands for it begins at nothing, as published.
        with torch.no_grad():
            model.visual.temporal_embedding.zero_()
    return sorted(kept - {"logit_scale"})


def _resampled(model: EgoDTM, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Embeddings of place and time at the model's sizes; the other tensors as they are."""
    found = dict(tensors)
    time = found.get("visual.temporal_embedding")
    if time is not None and len(time) != model.config.vision.frames:
        found["visual.temporal_embedding"] = functional.interpolate(
            time.T[None], model.config.vision.frames, mode="linear", align_corners=False
        )[0].T
    place = found.get("visual.positional_embedding")
    if place is not None:
        side = round((len(place) - 1) ** 0.5)
        if side != model.visual.grid[0] and side**2 == len(place) - 1:
            maps = place[1:].T.reshape(1, -1, side, side)
            maps = functional.interpolate(
                maps, model.visual.grid, mode="bicubic", antialias=True, align_corners=False
            )
            found["visual.positional_embedding"] = torch.cat([place[:1], maps.flatten(2)[0].T])
    return found
