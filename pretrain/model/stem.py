"""Patches seen through the first stages of EfficientNet-Lite0, which start from ImageNet.

A small model that is trained for an hour has no time to find edges and textures by itself, and
there is no CLIP of its size to start from. The stem stands where CLIP has a linear map of pixels;
what comes behind is the same (a hybrid in the sense of Dosovitskiy et al., arXiv 2010.11929).
"""

import torch
from torch import nn
from torch.nn import functional

from egodtm_robot.core.published_models.efficientnet import (
    LAYERS,
    MEAN,
    SCALE,
    WEIGHTS_PACKAGE,
    EfficientNetLite0,
    empty_network,
    fold_batch_norms,
    read_imagenet_weights,
)
from egodtm_robot.core.published_models.matching import load_matching

PATCH_SIZE = 16
"""Side in pixels of the patches that come out."""

_LAYERS = ("stride8", "stride16")
_BLOCKS = max(LAYERS[layer][0] for layer in _LAYERS)


_AT_ONCE = 8
"""Frames that go through the network together on a CPU: more do not fit into its caches and take
up to three times as long each."""


class EfficientNetStem(nn.Module):
    """Features of the strides 8 and 16, normalized, for each patch of 16 pixels.

    The finer map's four cells of a patch stand beside one another, so that nothing of it is lost.
    The network is frozen unless :meth:`train_network` says otherwise; its BatchNorms are folded
    into the convolutions, so that there are no statistics that a batch could change.
    """

    channels = 4 * LAYERS["stride8"][1] + LAYERS["stride16"][1]
    map_channels = LAYERS["stride8"][1] + LAYERS["stride16"][1]

    def __init__(self) -> None:
        super().__init__()
        self.network = _cut(EfficientNetLite0())
        self.norm = nn.LayerNorm(self.channels)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 (B, T, H, W, 3) -> (B, T, L, C), sides multiples of PATCH_SIZE."""
        normalized: torch.Tensor = self.norm(self.features(frames))
        return normalized

    def features(self, frames: torch.Tensor) -> torch.Tensor:
        """What :meth:`forward` gives, before the norm that suits it to the blocks."""
        images = frames.flatten(0, 1)
        # An exported network knows no number of rows that it could cut up.
        cut = frames.device.type == "cpu" and not torch.compiler.is_exporting()
        parts = images.split(_AT_ONCE) if cut else (images,)
        patches = torch.cat([self._patches(part) for part in parts])
        return patches.unflatten(0, frames.shape[:2])

    def train_network(self, trained: bool) -> None:
        """Let the network learn with what is behind it, or leave it as it is."""
        self.network.requires_grad_(trained)

    def _patches(self, images: torch.Tensor) -> torch.Tensor:
        """Uint8 (N, H, W, 3) -> (N, L, C)."""
        fine, coarse = stem_maps(self.network, images)
        maps = torch.cat([functional.pixel_unshuffle(fine, 2), coarse], dim=1)
        return maps.flatten(2).transpose(1, 2)

    @torch.no_grad()
    def load_imagenet(self) -> None:
        """Take the published weights.

        Raises:
            WeightsError: the package that holds them is not installed.
        """
        network = empty_network()
        load_matching(network, read_imagenet_weights(), WEIGHTS_PACKAGE)
        self.network.load_state_dict(_cut(network).state_dict())


def stem_maps(network: EfficientNetLite0, images: torch.Tensor) -> list[torch.Tensor]:
    """Uint8 (N, H, W, 3) -> maps (N, C, h, w) of the strides 8 and 16 of a stem's network."""
    pixels = images.permute(0, 3, 1, 2).to(next(network.parameters()).dtype)
    return network(pixels.sub(MEAN).div_(SCALE), _LAYERS)


def _cut(network: EfficientNetLite0) -> EfficientNetLite0:
    """The stages that are read, without the classifier's and with every BatchNorm folded."""
    network.blocks = network.blocks[:_BLOCKS]
    fold_batch_norms(network.eval())
    return network
