"""The TimeSformers of LaViLa, EgoVLP and EgoVLPv2, frozen."""

import sys
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import nn

from egodtm_robot.core.configuration import PositiveInt
from egodtm_robot.core.errors import EncoderOptionError, UnknownNameError
from egodtm_robot.core.images import central_squares, pair, pool_to_grid
from egodtm_robot.encoders.base import ImageEncoder
from pretrain.checkpoints.timesformers import FamilyName, read_timesformer, timesformer_file
from pretrain.model.dual_encoder import DualEncoder

Output = Literal["patches", "class", "embedding"]

_OUTPUTS = get_args(Output)


class TimeSformerEncoder(ImageEncoder):
    """Features of a window of frames by a published TimeSformer.

    Images are prepared as its authors do for evaluation: the square in the middle, resized to the
    model's side, in the family's colors. Tokens on a grid are those of the window's last frame, the
    present one, which have seen the others.

    Args:
        checkpoint: path of a published file (``.pt``, ``.pth``, ``.safetensors``).
        family: that the file has to be of; None for any.
        output: ``patches`` for the patches' tokens, ``class`` for the class token, ``embedding``
            for the class token in the space shared with texts.
        layer: blocks behind which ``patches`` are taken, from 1; None for those behind the last.
        grid: rows and columns (one number for both) to which ``patches`` are averaged; None for
            the model's own grid.
        history: frames a window. The embeddings of time are cut or made longer for it as the
            family's own code does.
        batch_size: windows a forward pass; None takes 1 for large models on a CPU, else 8.

    Raises:
        CheckpointError: no file is named, there is none, or it is of another family.
        WeightsError: the file cannot be read.
        CheckpointMismatchError: its tensors are not those of its family.
        UnknownNameError: there is no such output.
        EncoderOptionError: there is no such layer, it was asked for with another output than
            ``patches``, or the file has no projection for ``embedding``.
    """

    kind = "timesformer"

    @classmethod
    def check_sources(cls, options: Mapping[str, Any]) -> None:
        """See :meth:`egodtm_robot.encoders.base.Encoder.check_sources`."""
        timesformer_file(options.get("checkpoint"), options.get("family"), "encoder.checkpoint")

    def __init__(
        self,
        checkpoint: str | None = None,
        family: FamilyName | None = None,
        output: Output = "patches",
        layer: int | None = None,
        grid: int | tuple[int, int] | None = None,
        history: PositiveInt = 1,
        batch_size: PositiveInt | None = None,
    ) -> None:
        if output not in _OUTPUTS:
            raise UnknownNameError("output of the encoder", output, _OUTPUTS)
        published = read_timesformer(checkpoint, family, "encoder.checkpoint")
        print(published.describe(), file=sys.stderr)
        published = published.with_frames(history)
        config = published.config
        if layer is not None and (output != "patches" or not 1 <= layer <= config.layers):
            raise EncoderOptionError(
                f"Expected a layer from 1 to {config.layers} with output=patches, or null, got "
                f"layer={layer} with output={output}."
            )
        if output == "embedding" and "projection" in published.lacking:
            raise EncoderOptionError(
                f"Expected a checkpoint with a projection for output=embedding, {checkpoint} has "
                "none. Choose output=patches or output=class."
            )
        options: dict[str, Any] = {"output": output, **published.identity()}
        if layer is not None:
            options["layer"] = layer
        model = published.build(text=False)
        self._side = config.image_size
        self._grid = None
        if output == "patches":
            self._grid = config.grid if grid is None else pair(grid)
        dimension = config.width
        if output == "embedding":
            with torch.no_grad():
                dimension = model.embed_video(torch.zeros(1, config.width)).shape[1]
        super().__init__(
            network=_Network(model, output, layer),
            dimension=dimension,
            grid=self._grid,
            history=history,
            batch_size=batch_size,
            options=options,
        )
        self.name = published.family.name

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Uint8 (b, T, H, W, 3) -> (b, L, D)."""
        squares = central_squares(images.flatten(0, 1), self._side)
        features = self.network(squares.unflatten(0, images.shape[:2]))
        return features[:, None] if self._grid is None else pool_to_grid(features, self._grid)


class _Network(nn.Module):
    """The parts that one output depends on, and nothing else: they are fingerprinted."""

    def __init__(self, model: DualEncoder, output: Output, layer: int | None) -> None:
        super().__init__()
        projection = model.video_projection if output == "embedding" else None
        self.model = DualEncoder(model.visual, None, projection, None)
        self.output = output
        self.layer = layer

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 (b, T, H, W, 3) -> a vector (b, D), or the last frame's map (b, D, h, w)."""
        class_token, patch_tokens = self.model.visual(frames, self.layer)
        if self.output == "embedding":
            return self.model.embed_video(class_token)
        if self.output == "class":
            return class_token
        return patch_tokens[:, -1].transpose(1, 2).unflatten(2, self.model.visual.config.grid)
