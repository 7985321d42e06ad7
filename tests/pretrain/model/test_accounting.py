"""Every published parameter has its place in ours, and the counts agree."""

import math

import pytest
import torch

from pretrain.checkpoints import our_names
from pretrain.model import DepthDecoderConfig, EgoDTM, EgoDTMConfig

PUBLISHED_COUNT = 159_065_986
"""The sum that the published training log prints."""

Shapes = dict[str, tuple[int, ...]]


def linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def transformer(name: str, width: int, flash: bool) -> Shapes:
    shapes: Shapes = {}
    for layer in range(12):
        block = f"{name}.transformer.resblocks.{layer}"
        shapes |= norm(f"{block}.ln_1", width) | norm(f"{block}.ln_2", width)
        shapes |= linear(f"{block}.attn.out_proj", width, width)
        if flash:
            shapes |= linear(f"{block}.attn.Wqkv", width, 3 * width)
            shapes |= linear(f"{block}.mlp.fc1", width, 4 * width)
            shapes |= linear(f"{block}.mlp.fc2", 4 * width, width)
        else:
            shapes[f"{block}.attn.in_proj_weight"] = (3 * width, width)
            shapes[f"{block}.attn.in_proj_bias"] = (3 * width,)
            shapes |= linear(f"{block}.mlp.c_fc", width, 4 * width)
            shapes |= linear(f"{block}.mlp.c_proj", 4 * width, width)
    return shapes


def pyramid(upsampling: int) -> Shapes:
    shapes: Shapes = {"fpn.simfp_4.0.weight": (256, 256, 1, 1)}
    shapes |= norm("fpn.simfp_4.0.norm", 256) | norm("fpn.simfp_4.1.norm", 256)
    shapes["fpn.simfp_4.1.weight"] = (256, 256, 3, 3)
    fine, last, channels = ("simfp_2", 4, 64) if upsampling == 4 else ("simfp_3", 1, 128)
    shapes[f"fpn.{fine}.0.weight"] = (256, 128, 2, 2)
    shapes[f"fpn.{fine}.0.bias"] = (128,)
    if upsampling == 4:
        shapes |= norm("fpn.simfp_2.1", 128)
        shapes["fpn.simfp_2.3.weight"] = (128, 64, 2, 2)
        shapes["fpn.simfp_2.3.bias"] = (64,)
    shapes[f"fpn.{fine}.{last}.weight"] = (256, channels, 1, 1)
    shapes[f"fpn.{fine}.{last + 1}.weight"] = (256, 256, 3, 3)
    shapes |= norm(f"fpn.{fine}.{last}.norm", 256) | norm(f"fpn.{fine}.{last + 1}.norm", 256)
    return shapes


def decoder(flash: bool) -> Shapes:
    shapes: Shapes = {"decoder.query_feat.weight": (8, 256), "decoder.query_embed.weight": (8, 256)}
    shapes |= norm("decoder.decoder_norm", 256) | linear("decoder.class_embed", 256, 1)
    for layer in range(3):
        shapes |= linear(f"decoder.mask_embed.layers.{layer}", 256, 256)
    for layer in range(5):
        cross = f"decoder.transformer_cross_attention_layers.{layer}"
        own = f"decoder.transformer_self_attention_layers.{layer}"
        forward = f"decoder.transformer_ffn_layers.{layer}"
        shapes |= norm(f"{cross}.norm", 256) | norm(f"{own}.norm", 256)
        shapes |= norm(f"{forward}.norm", 256)
        shapes[f"{cross}.multihead_attn.in_proj_weight"] = (768, 256)
        shapes[f"{cross}.multihead_attn.in_proj_bias"] = (768,)
        shapes |= linear(f"{cross}.multihead_attn.out_proj", 256, 256)
        shapes |= linear(f"{own}.self_attn.out_proj", 256, 256)
        if flash:
            shapes |= linear(f"{own}.self_attn.Wqkv", 256, 768)
            shapes |= linear(f"{forward}.mlp.fc1", 256, 2048)
            shapes |= linear(f"{forward}.mlp.fc2", 2048, 256)
        else:
            shapes[f"{own}.self_attn.in_proj_weight"] = (768, 256)
            shapes[f"{own}.self_attn.in_proj_bias"] = (768,)
            shapes |= linear(f"{forward}.linear1", 256, 2048)
            shapes |= linear(f"{forward}.linear2", 2048, 256)
    return shapes


def published_shapes(flash: bool, upsampling: int) -> Shapes:
    """Names and shapes of a published checkpoint, written down from the recipe."""
    visual: Shapes = {
        "visual.conv1.weight": (768, 768) if flash else (768, 3, 16, 16),
        "visual.class_embedding": (768,),
        "visual.positional_embedding": (197, 768),
        "visual.temporal_embedding": (4, 768),
    }
    visual |= norm("visual.ln_pre", 768) | norm("visual.ln_post", 768)
    visual |= transformer("visual", 768, flash)
    # The text encoder is spelt as CLIP spells it in every build.
    textual: Shapes = {
        "textual.token_embedding.weight": (49408, 512),
        "textual.positional_embedding": (77, 512),
        "textual.text_projection": (512, 256),
    }
    textual |= norm("textual.ln_final", 512) | transformer("textual", 512, False)
    inside = visual | textual | {"logit_scale": ()}
    heads: Shapes = {"image_projection": (768, 256), "mask_features.weight": (256, 256, 1, 1)}
    heads |= {"mask_features.bias": (256,)} | linear("input_proj", 768, 256)
    heads |= pyramid(upsampling) | decoder(flash) | linear("vtm_head", 512, 2)
    whole = {f"backbone.{name}": shape for name, shape in inside.items()} | heads
    return {f"module.{name}": shape for name, shape in whole.items()}


@pytest.mark.parametrize("flash", [True, False])
@pytest.mark.parametrize("upsampling", [4, 2])
def test_every_published_name_and_shape_has_its_place(flash: bool, upsampling: int):
    published = published_shapes(flash, upsampling)
    with torch.device("meta"):
        tensors = {name: torch.empty(shape) for name, shape in published.items()}
    found = {name: tuple(tensor.shape) for name, tensor in our_names(tensors).items()}
    config = EgoDTMConfig(depth_decoder=DepthDecoderConfig(upsampling=upsampling))
    model = EgoDTM(config, seed=None)
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert own.pop("logit_scale") == ()
    assert found == own


def test_the_counts_agree_with_the_published_one():
    """The logged run's count is that of a pyramid of twice, without the head for matching."""
    counts = {}
    for upsampling in (2, 4):
        config = EgoDTMConfig(depth_decoder=DepthDecoderConfig(upsampling=upsampling))
        model = EgoDTM(config, seed=None)
        counts[upsampling] = sum(parameter.numel() for parameter in model.parameters())
        shapes = published_shapes(True, upsampling)
        head = sum(math.prod(shape) for name, shape in shapes.items() if "vtm_head" in name)
        assert head == 1026
        total = sum(math.prod(shape) for shape in shapes.values())
        assert total - head == counts[upsampling]
    assert counts[2] == PUBLISHED_COUNT
    assert counts[4] == 159_082_690
    assert abs(counts[4] / PUBLISHED_COUNT - 1) < 0.001
