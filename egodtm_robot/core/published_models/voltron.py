"""Voltron's encoder (Karamcheti et al., 2023): patches that were trained beside a sentence.

Facts from https://github.com/siddk/voltron-robotics (commit 5f3c5ee). V-Cond sees one frame, V-Dual
and V-Gen see two. A block has RMS norms, a gated MLP and a learned scale on each residual; there is
no class token. Twenty tokens of language always stand behind the patches. Without a sentence they
are those of an empty one, a constant of the weights, which is computed once here from the
DistilBERT that the published file holds.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from egodtm_robot.core.published_models.vit import (
    Attention,
    PatchEmbedding,
    positions_on_grid,
)

WORDS = 20
"""Tokens of language behind the patches."""

_START = 101
"""Number of the token that begins a sentence in DistilBERT's vocabulary; the padding has 0."""

_LANGUAGE_MODEL = "lm."
_LANGUAGE_EPS = 1e-12
_SMALLEST_NORM = 1e-8
_HEAD_CHANNELS = 64
"""Of every published size."""


@dataclass(frozen=True)
class VoltronSizes:
    """What the shapes of Voltron's weights say.

    Attributes:
        width: channels of a token.
        depth: blocks.
        hidden: inner channels of a block's MLP.
        patch: side of a patch in pixels.
        grid: patches a side of the image that the positions were trained for.
        frames: that the encoder sees, 1 or 2.
    """

    width: int
    depth: int
    hidden: int
    patch: int
    grid: int
    frames: int

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> "VoltronSizes":
        """Read them from tensors as :func:`without_language_model` gives them.

        Raises:
            KeyError: a tensor that tells a size is missing.
        """
        found = [re.match(r"encoder_blocks\.(\d+)\.", name) for name in tensors]
        times = tensors.get("ctx_enc_pe")
        return cls(
            width=len(tensors["patch2embed.proj.weight"]),
            depth=max((int(match[1]) for match in found if match), default=-1) + 1,
            hidden=tensors["encoder_blocks.0.mlp.2.weight"].shape[1],
            patch=tensors["patch2embed.proj.weight"].shape[-1],
            grid=math.isqrt(tensors["encoder_pe"].shape[1]),
            frames=1 if times is None else len(times),
        )

    @property
    def heads(self) -> int:
        """Of the attention."""
        return max(1, self.width // _HEAD_CHANNELS)


class Voltron(nn.Module):
    """The encoder, without a sentence.

    Args:
        sizes: of the weights that it will hold.
    """

    def __init__(self, sizes: VoltronSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.width
        self.patch2embed = PatchEmbedding(width, sizes.patch)
        self.encoder_pe = nn.Parameter(torch.zeros(1, sizes.grid**2, width))
        self.img_token = nn.Parameter(torch.zeros(width))
        self.ctx_enc_pe = (
            None if sizes.frames == 1 else nn.Parameter(torch.zeros(sizes.frames, width))
        )
        self.language = nn.Parameter(torch.zeros(WORDS, width))
        self.encoder_blocks = nn.ModuleList(
            _Block(width, sizes.heads, sizes.hidden) for _ in range(sizes.depth)
        )
        self.encoder_norm = _RMSNorm(width)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalized (N, frames, 3, H, W) -> the last frame's patches (N, rows * columns, D)."""
        frames = pixels.shape[1]
        patches, grid = self.patch2embed(pixels.flatten(0, 1))
        patches = patches + positions_on_grid(self.encoder_pe, grid)
        patches = patches.unflatten(0, (-1, frames)) + self.img_token
        if self.ctx_enc_pe is not None:
            patches = patches + self.ctx_enc_pe[:, None]
        seen = patches.flatten(1, 2)
        tokens = torch.cat([seen, self.language.expand(len(seen), -1, -1)], dim=1)
        # The published mask hides queries and not keys: of an empty sentence only the first token
        # chooses what it looks at, while patches look at all twenty.
        seeing = tokens.new_ones(tokens.shape[1])
        seeing[seen.shape[1] + 1 :] = 0
        for block in self.encoder_blocks:
            tokens = block(tokens, seeing)
        count = grid[0] * grid[1]
        return self.encoder_norm(tokens[:, (frames - 1) * count : frames * count])


class _RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        norms = tokens.norm(dim=-1, keepdim=True) * tokens.shape[-1] ** -0.5
        return tokens / norms.clamp(min=_SMALLEST_NORM) * self.g


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens * self.gamma


class _Gate(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 2 * hidden)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        values, gates = self.project(tokens).chunk(2, dim=-1)
        return values * functional.silu(gates)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.pre_norm_attn = _RMSNorm(width)
        self.attn = Attention(width, heads)
        self.layer_scale_attn = _Scale(width)
        self.pre_norm_mlp = _RMSNorm(width)
        # Identity stands where the dropout was, which had no weights but a number in the names.
        self.mlp = nn.Sequential(_Gate(width, hidden), nn.Identity(), nn.Linear(hidden, width))
        self.layer_scale_mlp = _Scale(width)

    def forward(self, tokens: torch.Tensor, seeing: torch.Tensor) -> torch.Tensor:
        attended = self.attn(self.pre_norm_attn(tokens), seeing)
        tokens = tokens + self.layer_scale_attn(attended)
        return tokens + self.layer_scale_mlp(self.mlp(self.pre_norm_mlp(tokens)))


def without_language_model(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Published tensors with the empty sentence's tokens in place of what computes them.

    V-Gen's names of the tokens that tell pictures from words become those of V-Cond and V-Dual.

    Raises:
        KeyError: a tensor of the language model or of its projection is missing.
    """
    renamed = {
        name.replace("img_enc_token", "img_token").replace("lang_enc_token", "lang_token"): tensor
        for name, tensor in tensors.items()
    }
    words = _empty_sentence(
        {
            name.removeprefix(_LANGUAGE_MODEL): renamed.pop(name)
            for name in list(renamed)
            if name.startswith(_LANGUAGE_MODEL)
        }
    )
    projection = renamed.pop("lang2encoder.weight"), renamed.pop("lang2encoder.bias")
    language = functional.linear(words, *projection) + renamed.pop("lang_token").flatten()
    found = {**renamed, "language": language, "img_token": renamed["img_token"].flatten()}
    if "ctx_enc_pe" in renamed:
        found["ctx_enc_pe"] = renamed["ctx_enc_pe"].flatten(0, 2)
    return found


def _empty_sentence(model: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """What DistilBERT (Sanh et al., 2019) says of a sentence without words: (WORDS, channels).

    The sentence is its first token and padding. As no token sees the padding, each attends to the
    first token alone, and attention is that token's value: queries and keys have no say.
    """
    numbers = torch.zeros(WORDS, dtype=torch.long)
    numbers[0] = _START
    words = model["embeddings.word_embeddings.weight"][numbers]
    tokens = words + model["embeddings.position_embeddings.weight"][:WORDS]
    tokens = _layer_norm(tokens, model, "embeddings.LayerNorm")
    found = {re.match(r"transformer\.layer\.(\d+)\.", name) for name in model}
    depth = len({match[1] for match in found if match})
    for name in (f"transformer.layer.{layer}" for layer in range(max(1, depth))):
        values = _linear(tokens[:1], model, f"{name}.attention.v_lin")
        attended = _linear(values, model, f"{name}.attention.out_lin")
        tokens = _layer_norm(tokens + attended, model, f"{name}.sa_layer_norm")
        inner = functional.gelu(_linear(tokens, model, f"{name}.ffn.lin1"))
        changed = _linear(inner, model, f"{name}.ffn.lin2")
        tokens = _layer_norm(tokens + changed, model, f"{name}.output_layer_norm")
    return tokens


def _linear(tokens: torch.Tensor, model: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    return functional.linear(tokens, model[f"{name}.weight"], model[f"{name}.bias"])


def _layer_norm(tokens: torch.Tensor, model: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    weight, bias = model[f"{name}.weight"], model[f"{name}.bias"]
    return functional.layer_norm(tokens, weight.shape, weight, bias, _LANGUAGE_EPS)
