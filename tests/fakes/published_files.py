"""Files as the authors of image models publish them, with random or empty weights.

Names and shapes are those of the public code, not of ours: what is listed here was read there.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Shapes = dict[str, tuple[int, ...]]


def resnet(depths: tuple[int, ...], bottleneck: bool, width: int = 64) -> Shapes:
    """torchvision's ResNet without its classifier."""
    shapes: Shapes = {"conv1.weight": (width, 3, 7, 7)}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    norm("bn1", width)
    channels = width
    for stage, depth in enumerate(depths):
        inner = width * 2**stage
        outer = inner * (4 if bottleneck else 1)
        for block in range(depth):
            name = f"layer{stage + 1}.{block}"
            inputs = (channels, inner, inner) if bottleneck else (channels, inner)
            outputs = (inner, inner, outer) if bottleneck else (inner, outer)
            kernels = (1, 3, 1) if bottleneck else (3, 3)
            for number, sizes in enumerate(zip(outputs, inputs, kernels, strict=True), 1):
                shapes[f"{name}.conv{number}.weight"] = (*sizes, sizes[2])
                norm(f"{name}.bn{number}", sizes[0])
            if block == 0 and (stage > 0 or channels != outer):
                shapes[f"{name}.downsample.0.weight"] = (outer, channels, 1, 1)
                norm(f"{name}.downsample.1", outer)
            channels = outer
    return shapes


def vit(width: int, depth: int, grid: int = 14, patch: int = 16) -> Shapes:
    """timm's VisionTransformer without its classifier."""
    shapes: Shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, grid**2 + 1, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for block in range(depth):
        for name, size in {
            "norm1": (),
            "attn.qkv": (3 * width, width),
            "attn.proj": (width, width),
            "norm2": (),
            "mlp.fc1": (4 * width, width),
            "mlp.fc2": (width, 4 * width),
        }.items():
            shapes[f"blocks.{block}.{name}.weight"] = size or (width,)
            shapes[f"blocks.{block}.{name}.bias"] = size[:1] or (width,)
    return shapes


def mae_decoder(width: int = 512, embed: str = "decoder_embed") -> Shapes:
    """What only the training of a masked autoencoder needs (one block of eight)."""
    return {
        "mask_token": (1, 1, width),
        f"{embed}.weight": (width, 8),
        "decoder_pos_embed": (1, 197, width),
        "decoder_blocks.0.norm1.weight": (width,),
        "decoder_norm.bias": (width,),
        "decoder_pred.weight": (768, width),
    }


def theia(width: int, depth: int, grid: int = 14) -> Shapes:
    """transformers' ViTModel behind Theia's prefix, and a piece of a translator."""
    shapes: Shapes = {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.position_embeddings": (1, grid**2 + 1, width),
        "embeddings.patch_embeddings.projection.weight": (width, 3, 16, 16),
        "embeddings.patch_embeddings.projection.bias": (width,),
        "layernorm.weight": (width,),
        "layernorm.bias": (width,),
    }
    for layer in range(depth):
        for name, size in {
            "attention.attention.query": (width, width),
            "attention.attention.key": (width, width),
            "attention.attention.value": (width, width),
            "attention.output.dense": (width, width),
            "intermediate.dense": (4 * width, width),
            "output.dense": (width, 4 * width),
            "layernorm_before": (width,),
            "layernorm_after": (width,),
        }.items():
            shapes[f"encoder.layer.{layer}.{name}.weight"] = size
            shapes[f"encoder.layer.{layer}.{name}.bias"] = size[:1]
    found = {f"backbone.model.{name}": shape for name, shape in shapes.items()}
    return {**found, "translator.translator_heads.clip.0.weight": (4, width)}


def voltron(
    width: int,
    depth: int,
    frames: int = 1,
    generates: bool = False,
    grid: int = 14,
    language: tuple[int, int, int] = (30522, 6, 3072),
) -> Shapes:
    """V-Cond; V-Dual with two frames; V-Gen where it generates.

    ``language``: vocabulary, layers and inner channels of its DistilBERT.
    """
    shapes: Shapes = {
        "patch2embed.proj.weight": (width, 3, 16, 16),
        "patch2embed.proj.bias": (width,),
        "encoder_pe": (1, grid**2, width),
        "encoder_norm.g": (width,),
        "lang2encoder.weight": (width, 768),
        "lang2encoder.bias": (width,),
        "encoder2decoder.weight": (192, width),
        "encoder2decoder.bias": (192,),
        "mask_token": (1, 1, 192) if frames == 1 else (1, 1, 1, 192),
        "decoder_pe": (1, grid**2, 192),
        "decoder_blocks.0.pre_norm_attn.g": (192,),
        "decoder_norm.g": (192,),
    }
    for block in range(depth):
        name = f"encoder_blocks.{block}"
        shapes |= {
            f"{name}.pre_norm_attn.g": (width,),
            f"{name}.attn.qkv.weight": (3 * width, width),
            f"{name}.attn.qkv.bias": (3 * width,),
            f"{name}.attn.proj.weight": (width, width),
            f"{name}.attn.proj.bias": (width,),
            f"{name}.layer_scale_attn.gamma": (width,),
            f"{name}.pre_norm_mlp.g": (width,),
            f"{name}.mlp.0.project.weight": (8 * width, width),
            f"{name}.mlp.0.project.bias": (8 * width,),
            f"{name}.mlp.2.weight": (width, 4 * width),
            f"{name}.mlp.2.bias": (width,),
            f"{name}.layer_scale_mlp.gamma": (width,),
        }
    kind = "_enc" if generates else ""
    shapes[f"img{kind}_token"] = (1, 1, width) if frames == 1 else (1, 1, 1, width)
    shapes[f"lang{kind}_token"] = (1, 1, width)
    if frames == 2:
        shapes |= {"ctx_enc_pe": (1, 2, 1, width), "ctx_dec_pe": (1, 2, 1, 192)}
    if generates:
        shapes |= {
            "lang2decoder.weight": (192, 768),
            "img_dec_token": (1, 1, 1, 192),
            "lang_dec_token": (1, 1, 192),
            "prefix_mask": (1, 1, 412, 412),
        }
    vocabulary, layers, hidden = language
    shapes["lm.embeddings.word_embeddings.weight"] = (vocabulary, 768)
    shapes["lm.embeddings.position_embeddings.weight"] = (512, 768)
    shapes["lm.embeddings.LayerNorm.weight"] = shapes["lm.embeddings.LayerNorm.bias"] = (768,)
    for layer in range(layers):
        name = f"lm.transformer.layer.{layer}"
        for part, size in {
            "attention.q_lin": (768, 768),
            "attention.k_lin": (768, 768),
            "attention.v_lin": (768, 768),
            "attention.out_lin": (768, 768),
            "sa_layer_norm": (768,),
            "ffn.lin1": (hidden, 768),
            "ffn.lin2": (768, hidden),
            "output_layer_norm": (768,),
        }.items():
            shapes[f"{name}.{part}.weight"] = size
            shapes[f"{name}.{part}.bias"] = size[:1]
    return shapes


def prefixed(prefix: str, shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
    """The same under a prefix."""
    return {prefix + name: shape for name, shape in shapes.items()}


def empty(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Tensors of these shapes that hold one number each, so that files of any size are small."""
    return {name: _typed(name, torch.zeros(())).expand(size) for name, size in shapes.items()}


def random(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random tensors that keep a signal's scale and in which no two numbers are alike."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, size in shapes.items():
        value = torch.randn(size, generator=generator)
        if re.search(
            r"(norm\d?|bn\d|downsample\.1|_norm|LayerNorm)\.(weight|g)$|gamma$|\.g$", name
        ):
            value = 1 + 0.2 * value
        elif name.endswith("running_var"):
            value = 1 + 0.2 * value.abs()
        elif len(size) > 1 and name.endswith("weight"):
            value = value * (1.5 / value[0].numel()) ** 0.5
        else:
            value = 0.2 * value
        tensors[name] = _typed(name, value)
    return tensors


def _typed(name: str, value: torch.Tensor) -> torch.Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.long)
    return value.to(torch.uint8) if name == "prefix_mask" else value


LANGUAGE = (128, 1, 32)
"""A DistilBERT of few words and one layer in place of six; its width is not ours to choose."""

SMALL: dict[str, Callable[[], Any]] = {
    "r3m": lambda: {
        "r3m": random(
            prefixed("module.convnet.", resnet((1, 2, 1, 1), False, 8))
            | {"module.lang_rew.pred.0.weight": (4, 4), "module.lang_enc.model.a": (4,)}
        ),
        "r3m_opt": {"state": {}},
    },
    "vip": lambda: {
        "vip": random(
            prefixed(
                "module.convnet.",
                resnet((1, 1, 1, 1), True, 8) | {"fc.weight": (24, 256), "fc.bias": (24,)},
            )
        ),
        "global_step": 3,
    },
    "mvp": lambda: {"model": random(vit(384, 1, grid=5))},
    "vc1": lambda: {
        "model": random(vit(128, 2, grid=4) | mae_decoder(32)),
        "epoch": 1,
    },
    "tobo": lambda: {
        "model": random(vit(384, 1, grid=4) | mae_decoder(32, "decoder_embed_mae")),
        "scaler": {"scale": 1.0},
    },
    "spa": lambda: random(
        prefixed("model.img_backbone.", vit(128, 2, grid=4) | mae_decoder(32))
        | {"model.img_backbone.upsample.0.conv.weight": (4, 4), "model.render_head.a": (3,)}
    ),
    "theia": lambda: random(theia(192, 2, grid=4)),
    "voltron": lambda: (
        random(voltron(128, 2, grid=4, language=LANGUAGE)),
        {"state": {}},
    ),
}
"""What each family publishes, small and random, in the wrapper of its scripts."""


def save_published(folder: Path, family: str, content: Any = None) -> Path:
    """Write a file as a family publishes it, or as it would write other content."""
    content = SMALL[family]() if content is None else content
    flat = isinstance(content, dict) and all(
        isinstance(value, torch.Tensor) for value in content.values()
    )
    path = folder / f"{family}.{'safetensors' if flat else 'pth'}"
    if flat:
        save_file({name: tensor.contiguous() for name, tensor in content.items()}, path)
    else:
        torch.save(content, path)
    return path
