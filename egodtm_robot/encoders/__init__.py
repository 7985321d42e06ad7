"""Frozen encoders behind one interface: images or simulator state in, tokens out."""

from egodtm_robot.encoders.base import Encoder, ImageEncoder
from egodtm_robot.encoders.registry import (
    check_encoder,
    encoder_config,
    encoder_names,
    make_encoder,
)

__all__ = [
    "Encoder",
    "ImageEncoder",
    "check_encoder",
    "encoder_config",
    "encoder_names",
    "make_encoder",
]
