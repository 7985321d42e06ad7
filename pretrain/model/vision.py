"""The video encoder: CLIP's ViT over the patches of all frames at once."""

import torch
from torch import nn
from torch.nn import functional

from egodtm_robot.core.errors import ModelInputError
from pretrain.model.configuration import VisionConfig
from pretrain.model.layers import Transformer
from pretrain.model.patch_colors import PatchColors
from pretrain.model.stem import EfficientNetStem


class VisionTransformer(nn.Module):
    """A clip's patches and one class token through blocks of joint space-time attention.

    Every frame has the same position embedding; a temporal embedding, zero in the beginning, is
    added to all patches of a frame. Both are interpolated for other resolutions and numbers of
    frames, so that one frame is a valid clip.

    Args:
        config: sizes.
        gradient_checkpointing: see :class:`pretrain.model.EgoDTMConfig`.
    """

    def __init__(self, config: VisionConfig, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.config = config
        width = config.width
        side = config.image_size // config.patch_size
        self.grid = (side, side)
        self.stem = EfficientNetStem() if config.stem == "efficientnet_lite0" else None
        channels = 3 * config.patch_size**2 if self.stem is None else self.stem.channels
        # A linear map of flattened patches is the convolution of CLIP, and faster.
        self.conv1 = nn.Linear(channels, width, bias=False)
        self.patch_colors = PatchColors(width) if config.patch_colors else None
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(side * side + 1, width))
        self.temporal_embedding = nn.Parameter(torch.empty(config.frames, width))
        self.ln_pre = nn.LayerNorm(width, eps=config.norm_eps)
        self.transformer = Transformer(
            width,
            config.layers,
            config.heads,
            config.feed_forward,
            config.activation,
            config.norm_eps,
            gradient_checkpointing,
        )
        self.ln_post = nn.LayerNorm(width, eps=config.norm_eps)

    def forward(
        self, frames: torch.Tensor, patches: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode clips.

        Args:
            frames: uint8 (B, T, H, W, 3) RGB; H and W multiples of the patch size.
            patches: of :meth:`patches`, where they have been cut already.

        Returns:
            Class token (B, D) and patch tokens (B, T, L, D), row-major from the top left.

        Raises:
            ModelInputError: another shape or type.
        """
        tokens = self.ln_post(self.transformer(self.embed(frames, patches)))
        return tokens[:, 0], tokens[:, 1:].unflatten(1, (frames.shape[1], -1))

    def embed(self, frames: torch.Tensor, patches: torch.Tensor | None = None) -> torch.Tensor:
        """What the first block gets: uint8 (B, T, H, W, 3) -> (B, 1 + T * L, D), class token first.

        Raises:
            ModelInputError: another shape or type.
        """
        if patches is None:
            patches, _ = self.patches(frames)
        size = self.config.patch_size
        grid = (frames.shape[2] // size, frames.shape[3] // size)
        batch, count = patches.shape[:2]
        tokens = self.conv1(patches) + self.patch_positions(grid, count)
        if self.patch_colors is not None:
            tokens = tokens + self.patch_colors(frames)
        first = self.class_embedding + self.positional_embedding[0]
        tokens = torch.cat(
            [first.to(tokens.dtype).expand(batch, 1, -1), tokens.flatten(1, 2)], dim=1
        )
        embedded: torch.Tensor = self.ln_pre(tokens)
        return embedded

    def early_patches(self, frames: torch.Tensor, layer: int) -> torch.Tensor:
        """Patch tokens after the first ``layer`` blocks, each of mean 0 and deviation 1.

        Uint8 (B, T, H, W, 3) -> (B, T, L, D). The later blocks are not computed.

        Raises:
            ModelInputError: another shape or type.
        """
        tokens = self.embed(frames)
        for block in self.transformer.resblocks[:layer]:
            tokens = block(tokens)
        patches = functional.layer_norm(tokens[:, 1:], tokens.shape[-1:])
        return patches.unflatten(1, (frames.shape[1], -1))

    def patches(self, frames: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """Cut frames uint8 (B, T, H, W, 3) -> float32 (B, T, L, C), and the grid of L.

        C values of a patch are its pixels ordered (color, row, column), normalized, or what the
        stem makes of them.
        """
        size = self.config.patch_size
        if frames.ndim != 5 or frames.shape[-1] != 3 or frames.dtype != torch.uint8:
            raise ModelInputError(
                f"Expected uint8 RGB clips (B, T, H, W, 3), got {frames.dtype} of shape "
                f"{tuple(frames.shape)}."
            )
        batch, count, height, width = frames.shape[:4]
        if height % size or width % size or 0 in (count, height, width):
            raise ModelInputError(
                f"Expected at least one frame with sides that are multiples of the patch size "
                f"{size}, got {count} frames of {height} x {width}. Resize the frames first."
            )
        grid = (height // size, width // size)
        if self.stem is not None:
            return self.stem(frames), grid
        cut = frames.reshape(batch, count, grid[0], size, grid[1], size, 3)
        cut = cut.permute(0, 1, 2, 4, 6, 3, 5)  # batch, time, row, column, color, within the patch
        mean = torch.tensor(self.config.mean, device=frames.device)[:, None, None]
        scale = 1 / torch.tensor(self.config.std, device=frames.device)[:, None, None]
        normalized = cut.to(torch.float32) * (scale / 255) - mean * scale
        return normalized.reshape(batch, count, grid[0] * grid[1], -1), grid

    def patch_positions(self, grid: tuple[int, int], count: int) -> torch.Tensor:
        """What is added to the patches of ``count`` frames of a grid: (count, L, D).

        Rows and columns are interpolated by cubic splines, times linearly; a single frame gets the
        middle of the clip's times.
        """
        space: torch.Tensor = self.positional_embedding[1:]
        if grid != self.grid:
            stored = space.float().T.reshape(1, -1, *self.grid)
            resized = functional.interpolate(
                stored, grid, mode="bicubic", antialias=True, align_corners=False
            )
            space = resized.flatten(2)[0].T.to(space.dtype)
        time: torch.Tensor = self.temporal_embedding
        if count != len(time):
            resized = functional.interpolate(
                time.float().T[None], count, mode="linear", align_corners=False
            )
            time = resized[0].T.to(time.dtype)
        return space + time[:, None]
