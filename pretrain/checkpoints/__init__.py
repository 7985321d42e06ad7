"""Weights on disk: our own checkpoints, and published ones by their names."""

from pretrain.checkpoints.files import load_card, load_checkpoint, save_checkpoint
from pretrain.checkpoints.huggingface import from_huggingface_clip, huggingface_clip_tensors
from pretrain.checkpoints.loading import LoadedModel, load_model
from pretrain.checkpoints.published import initialize_from, load_published, our_names
from pretrain.checkpoints.starting import start_from

__all__ = [
    "LoadedModel",
    "from_huggingface_clip",
    "huggingface_clip_tensors",
    "initialize_from",
    "load_card",
    "load_checkpoint",
    "load_model",
    "load_published",
    "our_names",
    "save_checkpoint",
    "start_from",
]
