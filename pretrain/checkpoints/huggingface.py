"""CLIP as Hugging Face's transformers spells it."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from egodtm_robot.core.published_models.hub import load_model
from pretrain.checkpoints.published import initialize_from
from pretrain.model import EgoDTM, EgoDTMConfig, TextConfig, VisionConfig

_SPELLINGS = [
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.weight$", "visual.conv1.weight"),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^text_model\.embeddings\.token_embedding\.", "textual.token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "textual.positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "textual.ln_final."),
    (r"^text_model\.encoder\.layers\.", "textual.transformer.resblocks."),
    (r"^visual_projection\.weight$", "image_projection"),
    (r"^text_projection\.weight$", "textual.text_projection"),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.self_attn\.", ".attn."),
]


def huggingface_clip_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a ``transformers.CLIPModel`` under the names of :class:`pretrain.model.EgoDTM`.

    Queries, keys and values become one matrix, and projections are transposed.
    """
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in _SPELLINGS:
            name = re.sub(pattern, replacement, name)
        if name.endswith("position_ids") or name == "logit_scale":
            continue
        if name in ("image_projection", "textual.text_projection"):
            tensor = tensor.T
        if name == "visual.conv1.weight":
            tensor = tensor.flatten(1)
        renamed[name] = tensor.detach().float()
    for name in [name for name in renamed if ".attn.q_proj." in name]:
        parts = [renamed.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        renamed[name.replace("q_proj", "Wqkv")] = torch.cat(parts)
    return renamed


def read_huggingface_clip(source: str) -> Any:
    """CLIP as transformers reads it, by hub id or from a folder.

    Raises:
        WeightsError: the model is not to be had or not readable.
        CheckpointMismatchError: its tensors do not fit its configuration.
    """
    from transformers import CLIPModel

    return load_model(CLIPModel, source)


def from_huggingface_clip(source: str, frames: int = 4) -> EgoDTM:
    """CLIP as a model of ours: the same function on one frame.

    To begin EgoDTM's training from CLIP, use :func:`pretrain.checkpoints.start_from` instead, with
    a model of the sizes and the joint space that are wanted.

    Args:
        source: hub id such as ``openai/clip-vit-base-patch16``, or a folder as ``save_pretrained``
            writes it.
        frames: stored in the embedding of time, which is zero.

    Raises:
        WeightsError: the model is not to be had or not readable.
        CheckpointMismatchError: its tensors do not fit its configuration.
    """
    theirs = read_huggingface_clip(source)
    whole: Any = theirs.config
    vision, text = whole.vision_config, whole.text_config
    config = EgoDTMConfig(
        name=f"clip:{source}",
        joint_width=whole.projection_dim,
        vision=VisionConfig(
            image_size=vision.image_size,
            patch_size=vision.patch_size,
            frames=frames,
            width=vision.hidden_size,
            layers=vision.num_hidden_layers,
            heads=vision.num_attention_heads,
            feed_forward=vision.intermediate_size,
            activation=vision.hidden_act,
            norm_eps=vision.layer_norm_eps,
        ),
        text=TextConfig(
            vocabulary=text.vocab_size,
            context=text.max_position_embeddings,
            width=text.hidden_size,
            layers=text.num_hidden_layers,
            heads=text.num_attention_heads,
            feed_forward=text.intermediate_size,
            activation=text.hidden_act,
            norm_eps=text.layer_norm_eps,
            causal=True,
        ),
    )
    model = EgoDTM(config)
    initialize_from(model, huggingface_clip_tensors(theirs.state_dict()), source)
    return model.eval()
