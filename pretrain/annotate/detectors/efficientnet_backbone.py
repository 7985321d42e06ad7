"""EfficientNet-Lite0 as a backbone of transformers' detectors.

Its ImageNet weights come as a Python package, so that a detector without published weights of its
own need not learn edges and textures first. Importing this module makes the backbone known to
transformers' Auto classes; a saved detector with it loads like any other.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BackboneOutput

from egodtm_robot.core.published_models.efficientnet import (
    LAYERS,
    MEAN,
    SCALE,
    WEIGHTS_PACKAGE,
    EfficientNetLite0,
    read_imagenet_weights,
)
from egodtm_robot.core.published_models.matching import load_matching

STAGES = ("stride4", "stride8", "stride16", "stride32")
_BLOCKS = max(LAYERS[stage][0] for stage in STAGES)


class EfficientNetLite0Config(PreTrainedConfig):
    """Which stages are read; the network itself has no options.

    Args:
        out_features: of STAGES, the finest first.
    """

    model_type = "efficientnet_lite0"

    def __init__(self, out_features: Sequence[str] = STAGES, **kwargs: Any) -> None:
        self.out_features = list(out_features)
        super().__init__(**kwargs)


class EfficientNetLite0Backbone(PreTrainedModel):
    """Gray levels in [0, 1] to the maps of the stages that are read.

    Attributes:
        channels: of each map.
    """

    config_class = EfficientNetLite0Config
    base_model_prefix = "efficientnet_lite0"
    main_input_name = "pixel_values"

    def __init__(self, config: EfficientNetLite0Config) -> None:
        super().__init__(config)
        self.channels = [LAYERS[stage][1] for stage in config.out_features]
        self.network = EfficientNetLite0()
        self.network.blocks = self.network.blocks[:_BLOCKS]
        self.post_init()

    def load_imagenet(self) -> None:
        """Take the published weights.

        Raises:
            WeightsError: the package that holds them is not installed.
        """
        tensors = {
            name: tensor
            for name, tensor in read_imagenet_weights().items()
            if not name.startswith(f"blocks.{_BLOCKS}.")  # the classifier's
        }
        load_matching(self.network, tensors, WEIGHTS_PACKAGE)

    def train(self, mode: bool = True) -> "EfficientNetLite0Backbone":
        """Training mode, but for the norms: small batches would spoil ImageNet's statistics.

        transformers' own frozen norms have another epsilon, which would change the features.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, pixel_values: torch.Tensor) -> BackboneOutput:
        """Float (N, 3, H, W) in [0, 1] -> ``feature_maps`` (N, C, h, w) of the stages read."""
        pixels = pixel_values.mul(255).sub_(MEAN).div_(SCALE)
        maps = self.network(pixels, self.config.out_features)
        return BackboneOutput(feature_maps=tuple(maps))


AutoConfig.register(EfficientNetLite0Config.model_type, EfficientNetLite0Config)
AutoBackbone.register(EfficientNetLite0Config, EfficientNetLite0Backbone)
