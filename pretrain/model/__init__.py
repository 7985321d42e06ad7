"""EgoDTM: video encoder, text encoder, depth, region and entity decoders, and their union."""

from pretrain.model.configuration import (
    DepthDecoderConfig,
    EgoDTMConfig,
    EntityDecoderConfig,
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
    "EntityDecoderConfig",
    "RegionDecoderConfig",
    "TextConfig",
    "VideoFeatures",
    "VisionConfig",
]
