"""Voltron, trained on video with sentences, as its authors publish it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from egodtm_robot.core.configuration import PictureSide, PositiveInt
from egodtm_robot.core.published_models.image_models import (
    IMAGE_MODELS,
    filled,
    image_model_file,
    read_image_model,
    telling_sizes,
)
from egodtm_robot.core.published_models.voltron import (
    Voltron,
    VoltronSizes,
    without_language_model,
)
from egodtm_robot.encoders.published import PublishedEncoder


class VoltronEncoder(PublishedEncoder):
    """V-Cond of one frame, or V-Dual or V-Gen of two; the weights tell which, and their size.

    Tokens are the last frame's patches, seen without a sentence. V-Dual and V-Gen read windows of
    two frames: the one before and the present one. Voltron has no class token; its authors pool the
    patches by attention that is trained with the policy, so that there is no global feature.

    Args:
        checkpoint: path of the published file, or of the same tensors as safetensors.
        grid: rows and columns to which patches are averaged, None for their own.
        resolution: side in pixels, a multiple of 16, to which the whole image is resized instead of
            the published resize and cut; positions are interpolated.
        batch_size: windows a forward pass; None takes 1 for large models on a CPU, else 8.

    Raises:
        WeightsError: no file is named, or it cannot be read.
        CheckpointMismatchError: it is another model's, or not complete.
        EncoderOptionError: the resolution is no multiple of the patches' side.
    """

    kind = "voltron"

    def __init__(
        self,
        checkpoint: str | None = None,
        grid: int | Sequence[int] | None = None,
        resolution: PictureSide | None = None,
        batch_size: PositiveInt | None = None,
    ) -> None:
        model = IMAGE_MODELS["voltron"]
        tensors = read_image_model(model, checkpoint)
        with telling_sizes(str(checkpoint)):
            tensors = without_language_model(tensors)
            sizes = VoltronSizes.of(tensors)
        self._voltron = filled(lambda: Voltron(sizes), tensors, str(checkpoint))
        super().__init__(
            model=model,
            network=self._voltron,
            side=sizes.grid * sizes.patch,
            stride=sizes.patch,
            channels=sizes.width,
            embedding=sizes.width,
            output="grid",
            grid=grid,
            resolution=resolution,
            batch_size=batch_size,
            history=sizes.frames,
            options={"heads": sizes.heads},
        )

    @classmethod
    def check_sources(cls, options: Mapping[str, Any]) -> None:
        """See :meth:`egodtm_robot.encoders.base.Encoder.check_sources`."""
        image_model_file(IMAGE_MODELS["voltron"], options.get("checkpoint"))

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        side = self._voltron.sizes.patch
        own_grid = (pixels.shape[3] // side, pixels.shape[4] // side)
        return self._voltron(pixels).transpose(1, 2).unflatten(2, own_grid)
