"""The stem held to what ImageNet taught it, while it learns."""

import torch

from pretrain.losses.features import feature_loss, standardized
from pretrain.losses.frozen_stem import WithFrozenStem
from pretrain.model.feature_translator import FeatureTranslator
from pretrain.model.stem import EfficientNetStem

_WIDTH = 128


class StemAnchor(WithFrozenStem):
    """What the stem sees must still tell what ImageNet's stem would see.

    The trained features go through a translator, so that they may turn and gain channels, and must
    give those of a frozen copy. The copy is no part of what is stored: it comes from the published
    weights again whenever the module is made.

    Raises:
        WeightsError: the package that holds the published weights is not installed.
    """

    def __init__(self) -> None:
        super().__init__(_imagenet_stem())
        channels = EfficientNetStem.channels
        # Built without values: torch would draw them from its global generator.
        with torch.device("meta"):
            self.translator = FeatureTranslator(channels, channels, _WIDTH)
        self.translator.to_empty(device="cpu")

    def forward(
        self, frames: torch.Tensor, features: torch.Tensor, grid: tuple[int, int]
    ) -> torch.Tensor:
        """The loss of frames uint8 (B, T, H, W, 3) and the stem's features (B, T, L, C)."""
        with torch.no_grad():
            target = standardized(self.frozen.features(frames).flatten(0, 1))
        return feature_loss(self.translator(features.flatten(0, 1), grid), target)


def _imagenet_stem() -> EfficientNetStem:
    with torch.device("meta"):
        stem = EfficientNetStem()
    stem.to_empty(device="cpu")
    stem.norm.reset_parameters()
    stem.load_imagenet()
    return stem
