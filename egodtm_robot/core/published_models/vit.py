"""The vision transformer (Dosovitskiy et al., 2020) with the tensor names of timm.

MVP, VC-1, ToBo and SPA publish their weights by these names, as masked autoencoders do; Theia's are
translated. The network is ours and not that of transformers, whose classes have renamed their
parts between versions: a fingerprint hashes the names too.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

_TRANSFORMERS_NAMES = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attn.proj."),
    (r"^encoder\.layer\.(\d+)\.layernorm_before\.", r"blocks.\1.norm1."),
    (r"^encoder\.layer\.(\d+)\.layernorm_after\.", r"blocks.\1.norm2."),
    (r"^encoder\.layer\.(\d+)\.intermediate\.dense\.", r"blocks.\1.mlp.fc1."),
    (r"^encoder\.layer\.(\d+)\.output\.dense\.", r"blocks.\1.mlp.fc2."),
    (r"^layernorm\.", "norm."),
)
_PROJECTION = re.compile(
    r"^encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.(weight|bias)$"
)


@dataclass(frozen=True)
class ViTSizes:
    """What the shapes of a vision transformer's weights say.

    Attributes:
        width: channels of a token.
        depth: blocks.
        hidden: inner channels of a block's MLP.
        patch: side of a patch in pixels.
        grid: patches a side of the image that the positions were trained for.
    """

    width: int
    depth: int
    hidden: int
    patch: int
    grid: int

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> "ViTSizes":
        """Read them from tensors by timm's names.

        Raises:
            KeyError: a tensor that tells a size is missing.
        """
        found = [re.match(r"blocks\.(\d+)\.", name) for name in tensors]
        return cls(
            width=len(tensors["patch_embed.proj.weight"]),
            depth=max((int(match[1]) for match in found if match), default=-1) + 1,
            hidden=len(tensors["blocks.0.mlp.fc1.weight"]),
            patch=tensors["patch_embed.proj.weight"].shape[-1],
            grid=math.isqrt(tensors["pos_embed"].shape[1] - 1),
        )


class VisionTransformer(nn.Module):
    """A pre-norm vision transformer with a class token and learned or fixed positions.

    Args:
        sizes: of the weights that it will hold.
        heads: of the attention, which no shape shows; must divide ``sizes.width``.
        eps: of the norms.
    """

    def __init__(self, sizes: ViTSizes, heads: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + sizes.grid**2, width))
        self.patch_embed = PatchEmbedding(width, sizes.patch)
        self.blocks = nn.Sequential(
            *(_Block(width, heads, sizes.hidden, eps) for _ in range(sizes.depth))
        )
        self.norm = nn.LayerNorm(width, eps)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalized (N, 3, H, W) -> normed tokens (N, 1 + rows * columns, D), class token first.

        Where the patches are not as many as in training, their positions are interpolated.
        """
        patches, grid = self.patch_embed(pixels)
        places = positions_on_grid(self.pos_embed[:, 1:], grid)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(pixels), -1, -1)
        return self.norm(self.blocks(torch.cat([first, patches + places], dim=1)))


class PatchEmbedding(nn.Module):
    """Each square patch of the image times one matrix.

    Args:
        width: channels of a token.
        patch: side of a patch in pixels.
    """

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """Pixels (N, 3, H, W) -> tokens (N, rows * columns, D), and (rows, columns)."""
        maps = self.proj(pixels)
        return maps.flatten(2).transpose(1, 2), (maps.shape[2], maps.shape[3])


class Attention(nn.Module):
    """Self-attention with one projection to queries, keys and values.

    Args:
        width: channels of a token.
        heads: must divide ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, seeing: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens (N, L, D) -> (N, L, D).

        Args:
            tokens: to attend to each other.
            seeing: (L,) of 1 and 0, see :mod:`.voltron`; a token with 0 takes the mean of all
                values instead of choosing among them. None for 1 everywhere.
        """
        triples = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = triples.unbind(0)
        if seeing is not None:
            # A query of zeros finds all keys alike.
            queries = queries * seeing[:, None]
        found = functional.scaled_dot_product_attention(queries, keys, values)
        return self.proj(found.transpose(1, 2).flatten(2))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps)
        self.mlp = _MLP(width, hidden)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class _MLP(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fc2(functional.gelu(self.fc1(tokens)))


def positions_on_grid(positions: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Positions (1, side * side, D) of a square grid, interpolated to (1, rows * columns, D)."""
    side = math.isqrt(positions.shape[1])
    if grid == (side, side):
        return positions
    maps = positions.transpose(1, 2).unflatten(2, (side, side))
    maps = functional.interpolate(maps, grid, mode="bicubic", align_corners=False)
    return maps.flatten(2).transpose(1, 2)


def from_transformers_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A vision transformer's tensors as transformers publishes them, by the names of timm.

    Queries, keys and values become one tensor. Names that are not known stay as they are.

    Raises:
        KeyError: a layer has queries without keys or values.
    """
    renamed = {}
    for name, tensor in tensors.items():
        projection = _PROJECTION.match(name)
        if projection is None:
            for pattern, replacement in _TRANSFORMERS_NAMES:
                name = re.sub(pattern, replacement, name)
            renamed[name] = tensor
        elif projection[2] == "query":
            rest = [tensors[name.replace(".query.", f".{part}.")] for part in ("key", "value")]
            joint = torch.cat([tensor, *rest])
            renamed[f"blocks.{projection[1]}.attn.qkv.{projection[3]}"] = joint
    return renamed
