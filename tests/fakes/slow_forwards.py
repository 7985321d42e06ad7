"""Forward passes of published models, written step by step on the tensors of their files.

They take names as published and use nothing of ours. Sources are named in each.
"""

import math

import torch
from torch.nn import functional

Tensors = dict[str, torch.Tensor]


def resnet(tensors: Tensors, pixels: torch.Tensor) -> torch.Tensor:
    """He et al., 2015, as torchvision strides it (in the 3 x 3): the last map."""

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        mean, variance = tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"]
        scaled = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return (
            scaled * tensors[f"{name}.weight"][:, None, None]
            + tensors[f"{name}.bias"][:, None, None]
        )

    x = norm("bn1", functional.conv2d(pixels, tensors["conv1.weight"], stride=2, padding=3)).relu()
    x = functional.max_pool2d(x, 3, 2, 1)
    for stage in (1, 2, 3, 4):
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in tensors:
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            last = 3 if f"{name}.conv3.weight" in tensors else 2
            strided = 2 if last == 3 else 1
            y = x
            for number in range(1, last + 1):
                weight = tensors[f"{name}.conv{number}.weight"]
                step = stride if number == strided else 1
                y = functional.conv2d(y, weight, stride=step, padding=weight.shape[-1] // 2)
                y = norm(f"{name}.bn{number}", y)
                y = y.relu() if number < last else y
            if f"{name}.downsample.0.weight" in tensors:
                weight = tensors[f"{name}.downsample.0.weight"]
                x = norm(f"{name}.downsample.1", functional.conv2d(x, weight, stride=stride))
            x = (x + y).relu()
            block += 1
    return x


def vit(tensors: Tensors, pixels: torch.Tensor, heads: int, eps: float) -> torch.Tensor:
    """Dosovitskiy et al., 2020, names of timm: all tokens behind the final norm."""

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        centered = x - x.mean(dim=-1, keepdim=True)
        scaled = centered / (centered.square().mean(dim=-1, keepdim=True) + eps).sqrt()
        return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    weight = tensors["patch_embed.proj.weight"]
    x = _patches(pixels, weight, tensors["patch_embed.proj.bias"])
    x = torch.cat([tensors["cls_token"].expand(len(x), -1, -1), x], dim=1) + tensors["pos_embed"]
    block = 0
    while f"blocks.{block}.norm1.weight" in tensors:
        name = f"blocks.{block}"
        x = x + _attention(tensors, f"{name}.attn", norm(f"{name}.norm1", x), heads, None)
        inner = _linear(tensors, f"{name}.mlp.fc1", norm(f"{name}.norm2", x))
        inner = 0.5 * inner * (1 + torch.erf(inner / math.sqrt(2)))
        x = x + _linear(tensors, f"{name}.mlp.fc2", inner)
        block += 1
    return norm("norm", x)


def voltron(tensors: Tensors, frames: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """siddk/voltron-robotics 5f3c5ee: ``encode`` of V-Cond, V-Dual and V-Gen, ``mode="visual"``.

    Args:
        tensors: by published names.
        frames: (N, 1 or 2, 3, H, W).
        words: (20, 768), what the language model says of the empty sentence.
    """

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        size = x.norm(dim=-1, keepdim=True) * x.shape[-1] ** -0.5
        return x / size.clamp(min=1e-8) * tensors[f"{name}.g"]

    picture = tensors.get("img_token", tensors.get("img_enc_token"))
    sentence = tensors.get("lang_token", tensors.get("lang_enc_token"))
    assert picture is not None
    assert sentence is not None
    weight, bias = tensors["patch2embed.proj.weight"], tensors["patch2embed.proj.bias"]
    seen = []
    for time in range(frames.shape[1]):
        x = _patches(frames[:, time], weight, bias) + tensors["encoder_pe"]
        if "ctx_enc_pe" in tensors:
            x = x + tensors["ctx_enc_pe"][:, time]
        seen.append(x + picture.reshape(-1))
    count = seen[0].shape[1]
    language = _linear(tensors, "lang2encoder", words) + sentence.reshape(-1)
    x = torch.cat([*seen, language.expand(len(frames), -1, -1)], dim=1)
    mask = torch.ones(x.shape[1])
    mask[-19:] = 0
    width = x.shape[-1]
    block = 0
    while f"encoder_blocks.{block}.pre_norm_attn.g" in tensors:
        name = f"encoder_blocks.{block}"
        attended = _attention(
            tensors, f"{name}.attn", norm(f"{name}.pre_norm_attn", x), width // 64, mask
        )
        x = x + tensors[f"{name}.layer_scale_attn.gamma"] * attended
        inner = _linear(tensors, f"{name}.mlp.0.project", norm(f"{name}.pre_norm_mlp", x))
        half = inner.shape[-1] // 2
        gate = inner[..., half:]
        inner = inner[..., :half] * gate * torch.sigmoid(gate)
        inner = _linear(tensors, f"{name}.mlp.2", inner)
        x = x + tensors[f"{name}.layer_scale_mlp.gamma"] * inner
        block += 1
    x = norm("encoder_norm", x)
    return x[:, x.shape[1] - 20 - count : x.shape[1] - 20]


def _patches(pixels: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    side = weight.shape[-1]
    cut = pixels.unfold(2, side, side).unfold(3, side, side)  # (N, 3, rows, columns, side, side)
    return torch.einsum("ncijyx,dcyx->nijd", cut, weight).flatten(1, 2) + bias


def _linear(tensors: Tensors, name: str, x: torch.Tensor) -> torch.Tensor:
    return torch.einsum("...i,oi->...o", x, tensors[f"{name}.weight"]) + tensors[f"{name}.bias"]


def _attention(
    tensors: Tensors, name: str, x: torch.Tensor, heads: int, mask: torch.Tensor | None
) -> torch.Tensor:
    size = x.shape[-1] // heads
    queries, keys, values = _linear(tensors, f"{name}.qkv", x).chunk(3, dim=-1)
    found = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = queries[..., part] @ keys[..., part].transpose(1, 2) / math.sqrt(size)
        if mask is not None:
            # As published, rows of masked queries and not columns of masked keys.
            scores = scores.masked_fill(mask[:, None] == 0, torch.finfo(scores.dtype).min)
        found.append(scores.softmax(dim=-1) @ values[..., part])
    return _linear(tensors, f"{name}.proj", torch.cat(found, dim=-1))
