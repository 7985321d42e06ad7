"""A model of a few thousand parameters for clips of 32 pixels."""

from pretrain.model import (
    DepthDecoderConfig,
    EgoDTMConfig,
    RegionDecoderConfig,
    TextConfig,
    VisionConfig,
)


def tiny_config(regions: bool = False) -> EgoDTMConfig:
    """Depth maps of 8 x 8, as the fake clips have them."""
    return EgoDTMConfig(
        name="tiny",
        joint_width=16,
        vision=VisionConfig(
            image_size=32, patch_size=16, frames=4, width=32, layers=2, heads=2, feed_forward=64
        ),
        text=TextConfig(
            width=32, token_width=4, layers=1, heads=2, feed_forward=64, mask_padding=True
        ),
        depth_decoder=DepthDecoderConfig(
            width=16, mask_width=8, layers=2, heads=2, feed_forward=32, queries=4
        ),
        region_decoder=RegionDecoderConfig(
            enabled=regions, width=16, layers=1, heads=2, feed_forward=32
        ),
    )


TINY_OVERRIDES = [
    "model.joint_width=16",
    "model.vision.image_size=32",
    "model.vision.width=32",
    "model.vision.layers=2",
    "model.vision.heads=2",
    "model.vision.feed_forward=64",
    "model.text.width=32",
    "model.text.token_width=4",
    "model.text.layers=1",
    "model.text.heads=2",
    "model.text.feed_forward=64",
    "model.depth_decoder.width=16",
    "model.depth_decoder.mask_width=8",
    "model.depth_decoder.layers=2",
    "model.depth_decoder.heads=2",
    "model.depth_decoder.feed_forward=32",
    "training.batch_size=6",
    "training.workers=0",
    "training.threads=1",
    "training.log_every=2",
    "training.validate_every=4",
    "training.save_every=3",
    "data.validation_clips=6",
    "data.test_clips=6",
]
"""The same on the command line, with everything else as small."""
