"""EgoDTM: video encoder, text encoder, depth and region decoders, and their union."""

from pretrain.model.configuration import (
    DepthDecoderConfig,
    EgoDTMConfig,
    RegionDecoderConfig,
    TextConfig,
    VisionConfig,
)
from pretrain.model.egodtm import EgoDTM, EgoDTMOutput, VideoFeatures

__all__ = [
    "DepthDecoderConfig",
    "EgoDTM",
    "EgoDTMConfig",
    "EgoDTMOutput",
    "RegionDecoderConfig",
    "TextConfig",
    "VideoFeatures",
    "VisionConfig",
]
