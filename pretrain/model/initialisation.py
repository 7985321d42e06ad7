"""Initial weights of a model, drawn from one generator.

Video encoder: normal, deviation 0.02, as AVION. Text encoder: OpenAI's deviations by width and
depth. Decoders: Xavier for matrices, standard normal for queries, as published.
"""

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from pretrain.model.egodtm import EgoDTM

_VISION_DEVIATION = 0.02


def initialise(model: "EgoDTM", generator: torch.Generator) -> None:
    """Give every parameter its initial value.

    Args:
        model: changed in place.
        generator: the only source of randomness.
    """
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    for name, parameter in model.named_parameters():
        part, _, rest = name.partition(".")
        if _belongs_to_norm(model, name):
            continue
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif name == "image_projection":
            nn.init.normal_(parameter, std=len(parameter) ** -0.5, generator=generator)
        elif part == "visual":
            # No two frames differ in the beginning but by what they show.
            deviation = 0.0 if rest == "temporal_embedding" else _VISION_DEVIATION
            nn.init.normal_(parameter, std=deviation, generator=generator)
        elif part == "textual":
            config = model.config.text
            deviation = _text_deviation(rest, config.width, config.layers)
            nn.init.normal_(parameter, std=deviation, generator=generator)
        elif "query_" in name:
            nn.init.normal_(parameter, generator=generator)
        else:
            nn.init.xavier_uniform_(parameter, generator=generator)


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
