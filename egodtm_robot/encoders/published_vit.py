"""MVP, VC-1, ToBo, SPA and Theia: vision transformers, as their authors publish them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

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
from egodtm_robot.core.published_models.vit import (
    VisionTransformer,
    ViTSizes,
    from_transformers_names,
)
from egodtm_robot.encoders.base import Output
from egodtm_robot.encoders.published import PublishedEncoder

Family = Literal["mvp", "vc1", "tobo", "spa", "theia"]


class PublishedViTEncoder(PublishedEncoder):
    """The ViT of a published file; the weights tell its size.

    Args:
        family: whose file it is. It decides what no tensor shows: heads, norms, how images are
            prepared.
        checkpoint: path of the published file, or of the same tensors as safetensors.
        output: ``grid`` for the patches behind the final norm, ``class`` for the class token behind
            it.
        grid: rows and columns to which patches are averaged, None for their own. Of no effect on
            ``class``.
        resolution: side in pixels, a multiple of the patches', to which the whole image is resized
            instead of the published resize and cut; positions are interpolated.
        batch_size: windows a forward pass; None takes 1 for large models on a CPU, else 8.

    Raises:
        WeightsError: no file is named, or it cannot be read.
        CheckpointMismatchError: it is another model's, or not complete.
        EncoderOptionError: the resolution is no multiple of the patches' side.
    """

    kind = "published_vit"

    def __init__(
        self,
        family: Family,
        checkpoint: str | None = None,
        output: Output = "grid",
        grid: int | Sequence[int] | None = None,
        resolution: PictureSide | None = None,
        batch_size: PositiveInt | None = None,
    ) -> None:
        if family not in get_args(Family):
            raise UnknownNameError("family of ViTs", family, get_args(Family))
        model = IMAGE_MODELS[family]
        tensors = read_image_model(model, checkpoint)
        with telling_sizes(str(checkpoint)):
            tensors = from_transformers_names(tensors)
            sizes = ViTSizes.of(tensors)
        heads = model.heads_of(sizes.width)
        self._vit = filled(
            lambda: VisionTransformer(sizes, heads, model.eps), tensors, str(checkpoint)
        )
        super().__init__(
            model=model,
            network=self._vit,
            side=sizes.grid * sizes.patch,
            stride=sizes.patch,
            channels=sizes.width,
            embedding=sizes.width,
            output=output,
            grid=grid,
            resolution=resolution,
            batch_size=batch_size,
            options={"heads": heads, "eps": model.eps},
        )

    @classmethod
    def check_sources(cls, options: Mapping[str, Any]) -> None:
        """See :meth:`egodtm_robot.encoders.base.Encoder.check_sources`."""
        family = str(options.get("family"))
        if family in get_args(Family):
            image_model_file(IMAGE_MODELS[family], options.get("checkpoint"))

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        tokens = self._vit(pixels[:, -1])
        if self.grid is None:
            return tokens[:, 0]
        side = self._vit.sizes.patch
        own_grid = (pixels.shape[3] // side, pixels.shape[4] // side)
        return tokens[:, 1:].transpose(1, 2).unflatten(2, own_grid)
