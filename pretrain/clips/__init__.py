"""Egocentric clips: what they hold, how they are stored, and where they come from."""

from pretrain.clips.clip import Boxes, Clip, DepthKind
from pretrain.clips.store import ClipStore, ClipStoreWriter

__all__ = ["Boxes", "Clip", "ClipStore", "ClipStoreWriter", "DepthKind"]
