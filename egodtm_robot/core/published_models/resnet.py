"""ResNet (He et al., 2015) with the tensor names of torchvision, sized by its weights.

R3M and VIP publish their weights by these names. The network is ours and not that of transformers,
whose classes have renamed their parts between versions: a fingerprint hashes the names too.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

STRIDE = 32
"""Pixels of the input between two cells of the last map."""


@dataclass(frozen=True)
class ResNetSizes:
    """What the shapes of a ResNet's weights say.

    Attributes:
        stem: channels of the first convolution.
        widths: inner channels of the blocks of each stage.
        depths: blocks of each stage.
        bottleneck: whether a block has three convolutions, the last of which widens four times
            (ResNet-50 and deeper), or two (ResNet-18 and 34).
        embedding: numbers that the linear layer behind the pooling gives; None without one.
    """

    stem: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    bottleneck: bool
    embedding: int | None

    @property
    def channels(self) -> int:
        """Channels of the last map."""
        return self.widths[-1] * (4 if self.bottleneck else 1)

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> "ResNetSizes":
        """Read them from tensors by torchvision's names.

        Raises:
            KeyError: a tensor that tells a size is missing.
        """
        depths = []
        for stage in (1, 2, 3, 4):
            found = [re.match(rf"layer{stage}\.(\d+)\.", name) for name in tensors]
            depths.append(max((int(match[1]) for match in found if match), default=-1) + 1)
        return cls(
            stem=len(tensors["conv1.weight"]),
            widths=tuple(len(tensors[f"layer{stage}.0.conv1.weight"]) for stage in (1, 2, 3, 4)),
            depths=tuple(depths),
            bottleneck="layer1.0.conv3.weight" in tensors,
            embedding=len(tensors["fc.weight"]) if "fc.weight" in tensors else None,
        )


class ResNet(nn.Module):
    """A ResNet up to its last map, with the linear layer behind the pooling where there is one.

    Args:
        sizes: of the weights that it will hold.
    """

    def __init__(self, sizes: ResNetSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.conv1 = nn.Conv2d(3, sizes.stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(sizes.stem)
        channels = sizes.stem
        for stage, (width, depth) in enumerate(zip(sizes.widths, sizes.depths, strict=True), 1):
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 1 and index == 0 else 1
                blocks.append(_Block(channels, width, stride, sizes.bottleneck))
                channels = blocks[-1].channels
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.fc = None if sizes.embedding is None else nn.Linear(channels, sizes.embedding)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalized (N, 3, H, W) -> the last map (N, C, ceil(H / 32), ceil(W / 32))."""
        features = functional.relu(self.bn1(self.conv1(pixels)))
        features = functional.max_pool2d(features, 3, stride=2, padding=1)
        for stage in (1, 2, 3, 4):
            features = self.get_submodule(f"layer{stage}")(features)
        return features

    def embed(self, feature_map: torch.Tensor) -> torch.Tensor:
        """The last map (N, C, h, w) -> the global feature (N, C), or (N, embedding)."""
        pooled = feature_map.mean(dim=(2, 3))
        return pooled if self.fc is None else self.fc(pooled)


class _Block(nn.Module):
    """Two convolutions of 3 x 3, or 1 x 1, 3 x 3 and 1 x 1, around which the input is added."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        self.channels = width * (4 if bottleneck else 1)
        # (kernel, stride, outputs). torchvision strides in the convolution of 3 x 3.
        layers: Sequence[tuple[int, int, int]] = (
            ((1, 1, width), (3, stride, width), (1, 1, self.channels))
            if bottleneck
            else ((3, stride, width), (3, 1, width))
        )
        self.layers = len(layers)
        channels = inputs
        for index, (kernel, step, outputs) in enumerate(layers, 1):
            conv = nn.Conv2d(channels, outputs, kernel, step, kernel // 2, bias=False)
            self.add_module(f"conv{index}", conv)
            self.add_module(f"bn{index}", nn.BatchNorm2d(outputs))
            channels = outputs
        self.downsample = None
        if stride != 1 or inputs != self.channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, self.channels, 1, stride, bias=False),
                nn.BatchNorm2d(self.channels),
            )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) -> (N, channels, ceil(H / stride), ceil(W / stride))."""
        kept = features if self.downsample is None else self.downsample(features)
        for index in range(1, self.layers + 1):
            features = self.get_submodule(f"conv{index}")(features)
            features = self.get_submodule(f"bn{index}")(features)
            if index < self.layers:
                features = functional.relu(features)
        return functional.relu(features + kept)
