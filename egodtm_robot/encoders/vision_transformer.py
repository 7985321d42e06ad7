"""A small vision transformer with random weights: what an untrained ViT can tell a policy."""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import ViTConfig, ViTModel

from egodtm_robot.core.configuration import PictureSide, PositiveInt
from egodtm_robot.core.published_models.preprocessing import Preprocessing
from egodtm_robot.encoders.base import DEFAULT_BATCH_SIZE, Output
from egodtm_robot.encoders.huggingface import TransformersEncoder


class RandomViTEncoder(TransformersEncoder):
    """ViT-Tiny (192 channels, 12 layers, 3 heads, patches of 16) drawn from a seed.

    Args:
        seed: of the weights; part of the fingerprint.
        resolution: side in pixels to which images are resized, a multiple of 16.
        output: ``grid`` or ``class``.
        grid: rows and columns of tokens, None for one a patch.
        batch_size: windows a forward pass.
    """

    kind = "vit_tiny_random"

    def __init__(
        self,
        seed: int = 0,
        resolution: PictureSide = 112,
        output: Output = "grid",
        grid: int | Sequence[int] | None = None,
        batch_size: PositiveInt = DEFAULT_BATCH_SIZE,
    ) -> None:
        config = ViTConfig(
            hidden_size=192,
            num_hidden_layers=12,
            num_attention_heads=3,
            intermediate_size=768,
            image_size=resolution,
            patch_size=16,
        )
        # Built without values, because transformers would draw them from torch's global generator.
        with torch.device("meta"):
            model = ViTModel(config, add_pooling_layer=False)
        model = model.to_empty(device="cpu")
        fill_randomly(model, torch.Generator().manual_seed(seed))
        super().__init__(
            model=model,
            preprocessing=Preprocessing(
                size=(resolution, resolution),
                crop=None,
                interpolation="bicubic",
                rescale=1 / 255,
                mean=(0.5, 0.5, 0.5),
                std=(0.5, 0.5, 0.5),
            ),
            output=output,
            grid=grid,
            options={"seed": seed},
            batch_size=batch_size,
        )
        self.name = "vit_tiny_random"


def fill_randomly(model: nn.Module, generator: torch.Generator) -> None:
    """The usual initialization (weights of deviation 0.02), drawn from ``generator`` alone."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
        else:
            for name, parameter in module.named_parameters(recurse=False):
                if name == "bias":
                    nn.init.zeros_(parameter)
                else:
                    nn.init.trunc_normal_(parameter, std=0.02, generator=generator)
