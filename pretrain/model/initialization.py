"""Initial weights of a model, drawn from one generator.

Video encoder: Xavier for matrices, waves for places and times. The published model starts from
CLIP's weights; one that starts from nothing has to tell places apart before it can learn what lies
there, and normal weights of deviation 0.02 leave them at a twentieth of what a patch shows. Text
encoder: OpenAI's deviations by width and depth. Decoders: Xavier for matrices, standard normal for
queries, as published.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from pretrain.model.egodtm import EgoDTM

_CLASS_DEVIATION = 0.02

_WAVE_AMPLITUDE = 0.5
"""About what a patch's colors make of a token."""

_WAVE_RATIO = 100.0
"""Longest over shortest wave: grids and clips are tens of places long."""


def initialize(model: "EgoDTM", generator: torch.Generator) -> None:
    """Give every parameter its initial value.

    Args:
        model: changed in place.
        generator: the only source of randomness.

    Raises:
        WeightsError: the stem's weights are not installed.
    """
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    if model.visual.stem is not None:
        model.visual.stem.load_imagenet()
    for name, parameter in model.named_parameters():
        if name.startswith("visual.stem."):
            continue
        part, _, rest = name.partition(".")
        if _belongs_to_norm(model, name):
            continue
        if name.endswith("bias") or name == "visual.patch_colors.weight":
            nn.init.zeros_(parameter)
        elif name == "image_projection":
            nn.init.normal_(parameter, std=len(parameter) ** -0.5, generator=generator)
        elif rest == "class_embedding":
            nn.init.normal_(parameter, std=_CLASS_DEVIATION, generator=generator)
        elif part == "visual" and rest == "positional_embedding":
            with torch.no_grad():
                parameter[0] = 0.0
                parameter[1:] = plane_waves(math.isqrt(len(parameter) - 1), parameter.shape[1])
        elif rest == "temporal_embedding":
            with torch.no_grad():
                parameter.copy_(waves(len(parameter), parameter.shape[1]))
        elif part == "textual":
            config = model.config.text
            deviation = _text_deviation(rest, config.width, config.layers)
            nn.init.normal_(parameter, std=deviation, generator=generator)
        elif "query_" in name:
            nn.init.normal_(parameter, generator=generator)
        else:
            nn.init.xavier_uniform_(parameter, generator=generator)


def initialize_head(head: nn.Module, generator: torch.Generator) -> None:
    """Give every parameter of a head its initial value: Xavier for matrices, as in decoders.

    Args:
        head: changed in place.
        generator: the only source of randomness.
    """
    for module in head.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    for name, parameter in head.named_parameters():
        if _belongs_to_norm(head, name):
            continue
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 1:
            nn.init.normal_(parameter, std=_CLASS_DEVIATION, generator=generator)
        else:
            nn.init.xavier_uniform_(parameter, generator=generator)


def waves(count: int, width: int) -> torch.Tensor:
    """Sines and cosines of places 0 to ``count`` - 1: (count, width), for an even width."""
    rates = _WAVE_RATIO ** -(torch.arange(width // 2) / (width // 2))
    angles = torch.arange(count)[:, None] * rates
    return _WAVE_AMPLITUDE * torch.cat([angles.sin(), angles.cos()], dim=1)


def plane_waves(side: int, width: int) -> torch.Tensor:
    """Waves of rows in one half of the channels, of columns in the other: (side * side, width)."""
    along = waves(side, width // 2)
    rows = along[:, None].expand(-1, side, -1)
    columns = along[None].expand(side, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


def _belongs_to_norm(model: nn.Module, name: str) -> bool:
    return isinstance(model.get_submodule(name.rpartition(".")[0]), nn.LayerNorm)


def _text_deviation(name: str, width: int, layers: int) -> float:
    """Standard deviation of a parameter of the text encoder, as OpenAI's CLIP begins."""
    fixed = {"token_embedding.weight": 0.02, "positional_embedding": 0.01}
    if name in fixed:
        return fixed[name]
    if name.endswith(("out_proj.weight", "fc2.weight")):
        return (2 * layers * width) ** -0.5
    return (2 * width) ** -0.5 if name.endswith("fc1.weight") else width**-0.5
