"""Frozen encoders behind one interface: images or simulator state in, tokens out."""

from egodtm_robot.encoders.base import Encoder, ImageEncoder
from egodtm_robot.encoders.registry import encoder_config, encoder_names, make_encoder

__all__ = ["Encoder", "ImageEncoder", "encoder_config", "encoder_names", "make_encoder"]
