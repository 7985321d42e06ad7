"""Depth by the decoder of our own pretrained model."""

import sys
from pathlib import Path

import numpy as np
import torch

from egodtm_robot.core.devices import pick_device
from egodtm_robot.core.fingerprints import hash_parts, hash_tensors
from egodtm_robot.core.images import resize, to_channels_first
from pretrain.annotate.depth.base import DEFAULT_SIZE, DepthAnnotator
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.annotate.stage import AnnotationFailure
from pretrain.checkpoints.loading import load_model, move_present
from pretrain.checkpoints.shipped import LOOKS_NAME, shipped_checkpoint
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.clip import DepthKind

CODE_VERSION = 1


class EgoDTMDepth(DepthAnnotator):
    """Depth in [0, 1] of each clip's own range, as the decoder was trained to give it.

    The frames of a clip are looked at together: one range holds for all of them.

    Args:
        checkpoint: weights that ``pretrain/run.py`` wrote, with their card beside them, or a
            published file of EgoDTM, or a shipped name; None takes ``egodtm_tiny_looks``, which is
            the better of the shipped ones on real frames.
        size: rows and columns of the stored maps.
        batch_size: clips handed over at once.
        device: ``auto``, or as torch names it.

    Raises:
        WeightsError: the package comes without it.
        CheckpointError: the checkpoint is missing, unreadable or of no known family.
        AnnotatorOptionError: the checkpoint has no depth decoder.
        ConfigurationError: there is no such device.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        size: int = DEFAULT_SIZE,
        batch_size: int = 8,
        device: str = "auto",
    ) -> None:
        path = Path(checkpoint or shipped_checkpoint(LOOKS_NAME)).expanduser()
        loaded = load_model(path)
        if loaded.description is not None:
            print(loaded.description, file=sys.stderr)
        if "depth decoder" in loaded.lacking:
            raise AnnotatorOptionError(
                f"Expected a checkpoint with a depth decoder, {path} has none. Name one of EgoDTM."
            )
        model = loaded.model
        parts = {
            "visual": model.visual.state_dict(),
            "depth_decoder": model.depth_decoder.state_dict(),
        }
        fingerprint = hash_parts(
            "EgoDTMDepth",
            CODE_VERSION,
            size,
            # What weights do not show: heads, activation, epsilon, colors.
            model.config.vision.identity(),
            model.config.depth_decoder.identity(),
            *(hash_tensors(tensors) for tensors in parts.values()),
        )
        super().__init__("egodtm", fingerprint, size, batch_size)
        self._device = pick_device(device)
        self._model = move_present(model, self._device)

    @torch.inference_mode()
    def predict(self, clip: AnnotatedClip) -> tuple[np.ndarray, DepthKind] | AnnotationFailure:
        """The decoder's last prediction."""
        config = self._model.config.vision
        side = (config.image_size, config.image_size)
        frames = torch.from_numpy(clip.frames).to(self._device)
        pixels = resize(to_channels_first(frames), side, "bicubic").round_()
        video = self._model.encode_video(pixels.permute(0, 2, 3, 1).to(torch.uint8)[None])
        decoded = self._model.decode_depth(video.patch_tokens, video.grid)
        return decoded.predictions[-1].depth[0].float().cpu().numpy(), "relative"
