"""R3M and VIP: residual networks trained on video of people, as their authors publish them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from egodtm_robot.core.configuration import PictureSide, PositiveInt
from egodtm_robot.core.errors import UnknownNameError
from egodtm_robot.core.published_models.image_models import (
    IMAGE_MODELS,
    filled,
    image_model_file,
    read_image_model,
    telling_sizes,
)
from egodtm_robot.core.published_models.resnet import STRIDE, ResNet, ResNetSizes
from egodtm_robot.encoders.base import Output
from egodtm_robot.encoders.published import PublishedEncoder

_SIDE = 224
_FAMILIES = ("r3m", "vip")


class PublishedResNetEncoder(PublishedEncoder):
    """The ResNet-18, 34 or 50 of R3M, or the ResNet-50 of VIP; the weights tell which.

    Args:
        family: ``r3m`` or ``vip``, whose file it is.
        checkpoint: path of the published file, or of the same tensors as safetensors.
        output: ``grid`` for the last map's cells, which the authors do not use; ``class`` for the
            global feature that they publish: R3M's mean of the map, VIP's linear layer behind it.
        grid: rows and columns of tokens, None for the map's own. Of no effect on ``class``.
        resolution: side in pixels, a multiple of 32, to which the whole image is resized instead of
            the published 256 with a central cut of 224.
        batch_size: windows a forward pass; None takes 1 for large models on a CPU, else 8.

    Raises:
        WeightsError: no file is named, or it cannot be read.
        CheckpointMismatchError: it is another model's, or not complete.
        EncoderOptionError: the resolution is no multiple of 32.
    """

    kind = "published_resnet"

    def __init__(
        self,
        family: Literal["r3m", "vip"],
        checkpoint: str | None = None,
        output: Output = "grid",
        grid: int | Sequence[int] | None = None,
        resolution: PictureSide | None = None,
        batch_size: PositiveInt | None = None,
    ) -> None:
        if family not in _FAMILIES:
            raise UnknownNameError("family of ResNets", family, _FAMILIES)
        model = IMAGE_MODELS[family]
        tensors = read_image_model(model, checkpoint)
        with telling_sizes(str(checkpoint)):
            sizes = ResNetSizes.of(tensors)
        self._resnet = filled(lambda: ResNet(sizes), tensors, str(checkpoint))
        super().__init__(
            model=model,
            network=self._resnet,
            side=_SIDE,
            stride=STRIDE,
            channels=sizes.channels,
            embedding=sizes.embedding or sizes.channels,
            output=output,
            grid=grid,
            resolution=resolution,
            batch_size=batch_size,
        )

    @classmethod
    def check_sources(cls, options: Mapping[str, Any]) -> None:
        """See :meth:`egodtm_robot.encoders.base.Encoder.check_sources`."""
        family = str(options.get("family"))
        if family in _FAMILIES:
            image_model_file(IMAGE_MODELS[family], options.get("checkpoint"))

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        feature_map = self._resnet(pixels[:, -1])
        return self._resnet.embed(feature_map) if self.grid is None else feature_map
