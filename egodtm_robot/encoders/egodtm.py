"""EgoDTM's video encoder, frozen: egodtm-tiny as it ships, or any checkpoint of pretraining."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from egodtm_robot.core.configuration import PictureSide, PositiveInt
from egodtm_robot.core.errors import EncoderOptionError, UnknownNameError
from egodtm_robot.core.images import pair, pool_to_grid, resize, to_channels_first
from egodtm_robot.core.published_models.efficientnet import EfficientNetLite0
from egodtm_robot.encoders.base import ImageEncoder
from pretrain.checkpoints.families import FamilyName, Part
from pretrain.checkpoints.loading import load_model, model_file
from pretrain.checkpoints.shipped import shipped_checkpoint
from pretrain.model import EgoDTM
from pretrain.model.stem import stem_maps

Output = Literal["stem", "patches", "class", "depth", "embedding"]

_OUTPUTS = get_args(Output)
_NEEDED: dict[Output, Part] = {"depth": "depth decoder", "embedding": "projection"}
"""Parts that published files may lack."""


class EgoDTMEncoder(ImageEncoder):
    """Features of a window of frames by a pretrained EgoDTM.

    All frames of a window attend to each other. Tokens on a grid are those of the window's last
    frame, the present one, which have seen the others.

    Args:
        checkpoint: path of weights that ``pretrain/run.py`` wrote (``.safetensors``, with their
            card), or of a published file of EgoDTM, AVION or OpenAI's CLIP as it was published
            (``.pt``, ``.pth``, ``.safetensors``); ``egodtm_tiny_looks`` for the one whose stem sees
            through lights and paints; None takes egodtm-tiny. Both come with the package.
        output: ``stem`` for what the convolutional stem sees, before any patch has looked at
            another: maps of strides 8 (averaged) and 16 side by side; ``patches`` for the patches'
            tokens behind the blocks; ``class`` for the class token; ``depth`` for the depth
            decoder's fine features and, as last channel, the depth that it predicts; ``embedding``
            for the class token in the space shared with texts. None takes ``stem`` where the model
            has one and no layer is asked for, else ``patches``.
        layer: blocks of the vision tower behind which ``patches`` are taken, from 1; None takes
            those behind the last. Later blocks serve the objective of pretraining, earlier ones
            keep more of where things are, and cost less.
        grid: rows and columns (one number for both) to which ``stem``, ``patches`` and ``depth``
            are averaged; None for the grid of the patches. Of no effect on the others.
        history: frames a window, at least 1. The embeddings of time of a published file are cut or
            made longer for it as its family's own code does; ours are interpolated.
        resolution: side to which frames are resized; None takes the model's own.
        batch_size: windows a forward pass; None takes 1 for large models on a CPU, else 8.
        family: that a published file has to be of; None for any, and for ours.

    Raises:
        WeightsError: the package comes without egodtm-tiny.
        CheckpointError: the checkpoint is missing, unreadable or of no known family.
        CheckpointMismatchError: its tensors are not those of its family.
        UnknownNameError: there is no such output.
        EncoderOptionError: the resolution is no multiple of the model's patch size, there is no
            such layer, it was asked for with another output than ``patches``, or an output of a
            part that the model does not have.
    """

    kind = "egodtm"

    @classmethod
    def check_sources(cls, options: Mapping[str, Any]) -> None:
        """See :meth:`egodtm_robot.encoders.base.Encoder.check_sources`."""
        _weights_file(options.get("checkpoint"), options.get("family"))

    def __init__(
        self,
        checkpoint: str | None = None,
        output: Output | None = None,
        layer: int | None = None,
        grid: int | tuple[int, int] | None = None,
        history: PositiveInt = 1,
        resolution: PictureSide | None = None,
        batch_size: PositiveInt | None = None,
        family: FamilyName | None = None,
    ) -> None:
        if output not in (None, *_OUTPUTS):
            raise UnknownNameError("output of the encoder", output, _OUTPUTS)
        path = _weights_file(checkpoint, family)
        loaded = load_model(path, family, history, "encoder.checkpoint")
        if loaded.description is not None:
            print(loaded.description, file=sys.stderr)
        model = loaded.model
        config = model.config
        stem = model.visual.stem
        if output is None:
            output = "patches" if stem is None or layer is not None else "stem"
        side = config.vision.image_size if resolution is None else resolution
        patch = config.vision.patch_size
        if side < 1 or side % patch:
            raise EncoderOptionError(
                f"Expected a resolution that is a multiple of the patches' {patch} pixels, got "
                f"{side}."
            )
        blocks = config.vision.layers
        if layer is not None and (output != "patches" or not 1 <= layer <= blocks):
            raise EncoderOptionError(
                f"Expected a layer from 1 to {blocks} with output=patches, or null, got "
                f"layer={layer} with output={output}."
            )
        if output == "stem" and stem is None:
            raise EncoderOptionError(
                f"Expected a model with a convolutional stem for output=stem, {path} sees patches "
                "of pixels. Choose output=patches."
            )
        needed = _NEEDED.get(output)
        if needed in loaded.lacking:
            raise EncoderOptionError(
                f"Expected a checkpoint with a {needed} for output={output}, {path} has none. "
                "Choose output=patches or output=class."
            )
        self._size = (side, side)
        self._output = output
        self._grid = None
        # What the blocks see beside the stem is nothing to the stem.
        vision = replace(config.vision, patch_colors=False) if output == "stem" else config.vision
        options: dict[str, Any] = {
            "output": output,
            "resolution": side,
            # What weights do not show: heads, activation, epsilon, colors.
            "vision": vision.identity(),
        }
        dimension = config.vision.width
        if layer is not None:
            options["layer"] = layer
        network: nn.Module
        if output == "stem":
            assert stem is not None
            network, dimension = _StemNetwork(stem.network), stem.map_channels
        else:
            network = _VideoNetwork(model, output, layer)
        if output == "depth":
            options["depth_decoder"] = config.depth_decoder.identity()
            dimension = config.depth_decoder.mask_width + 1
        elif output == "embedding":
            dimension = config.joint_width
        if output in ("stem", "patches", "depth"):
            own = side // patch
            self._grid = (own, own) if grid is None else pair(grid)
        super().__init__(
            network=network,
            dimension=dimension,
            grid=self._grid,
            history=history,
            batch_size=batch_size,
            options=options,
        )
        self.name = "egodtm"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Uint8 (b, T, H, W, 3) -> (b, L, D)."""
        pixels = resize(to_channels_first(images.flatten(0, 1)), self._size, "bicubic")
        frames = pixels.permute(0, 2, 3, 1).to(torch.uint8).unflatten(0, images.shape[:2])
        features = self.network(frames)
        return features[:, None] if self._grid is None else pool_to_grid(features, self._grid)


def _weights_file(checkpoint: str | None, family: FamilyName | None) -> Path:
    if checkpoint is None and family is None:
        return shipped_checkpoint()
    return model_file(checkpoint, family, "encoder.checkpoint")


class _StemNetwork(nn.Module):
    """A stem's network alone, without the norm that suits it to the blocks."""

    def __init__(self, network: EfficientNetLite0) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 (b, T, H, W, 3) -> the last frame's map (b, D, h, w)."""
        fine, coarse = stem_maps(self.network, frames[:, -1])
        return torch.cat([nn.functional.avg_pool2d(fine, 2), coarse], dim=1)


class _VideoNetwork(nn.Module):
    """The parts of a model that one output depends on, and nothing else: they are fingerprinted."""

    def __init__(self, model: EgoDTM, output: Output, layer: int | None) -> None:
        super().__init__()
        self.output = output
        self.layer = layer
        self.visual = model.visual
        self.image_projection = model.image_projection if output == "embedding" else None
        self.depth_decoder = model.depth_decoder if output == "depth" else None

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 (b, T, H, W, 3) -> a vector (b, D), or the last frame's map (b, D, h, w)."""
        size = self.visual.config.patch_size
        grid = (frames.shape[2] // size, frames.shape[3] // size)
        if self.layer is not None:
            early = self.visual.early_patches(frames, self.layer)
            return early[:, -1].transpose(1, 2).unflatten(2, grid)
        class_token, patch_tokens = self.visual(frames)
        if self.image_projection is not None:
            return nn.functional.normalize(class_token @ self.image_projection, dim=-1)
        if self.output == "class":
            return class_token
        if self.depth_decoder is not None:
            decoded = self.depth_decoder(patch_tokens, grid)
            depth = decoded.predictions[-1].depth[:, -1]
            return torch.cat([decoded.mask_features[:, -1], depth[:, None]], dim=1)
        return patch_tokens[:, -1].transpose(1, 2).unflatten(2, grid)
