"""A frozen encoder as a network that other runtimes can take: raw images in, tokens out."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

import egodtm_robot
from egodtm_robot.core.errors import EncoderOptionError
from egodtm_robot.core.graphs import Graph
from egodtm_robot.encoders.base import Encoder, ImageEncoder
from egodtm_robot.encoders.features import FeaturePipeline

IMAGES = "images"
TOKENS = "tokens"


class PipelineNetwork(nn.Module):
    """An encoder and the reduction of its channels, without numpy and without memory.

    Args:
        pipeline: its encoder reads images, or nothing.

    Raises:
        EncoderOptionError: it reads what no robot has, or is not made of torch operations.
    """

    mean: Tensor
    components: Tensor

    def __init__(self, pipeline: FeaturePipeline) -> None:
        super().__init__()
        encoder = pipeline.encoder
        if encoder.source == "privileged":
            raise EncoderOptionError(
                f"Expected an encoder that a robot can run, but {encoder.name} reads the state of "
                "a simulator. Train with an encoder of images, or with encoder=none."
            )
        self._encoder: ImageEncoder | None = None
        if encoder.source == "rgb":
            self._encoder = _image_encoder(encoder)
            # So that the exporter finds the weights.
            self.network = self._encoder.network
        self.tokens = encoder.num_tokens
        self.reduces = pipeline.reducer is not None
        if pipeline.reducer is not None:
            for name, tensor in pipeline.reducer.tensors().items():
                self.register_buffer(name, tensor)

    def forward(self, windows: Tensor) -> Tensor:
        """Uint8 (B, T, H, W, 3) -> float32 (B, L, D); anything of B rows for one that sees nothing.

        It is :meth:`FeaturePipeline.encode`, in batches of any size.
        """
        if self._encoder is None:
            return windows.new_zeros((windows.shape[0], self.tokens, 0), dtype=torch.float32)
        tokens = self._encoder.forward(windows).float()
        if self.reduces:
            tokens = (tokens - self.mean) @ self.components
        return tokens


def encoder_graph(encoder: Encoder, size: tuple[int, int]) -> Graph:
    """An encoder alone.

    Args:
        encoder: of images, on the CPU.
        size: (height, width) of the images that it will be given, pixels.

    Raises:
        EncoderOptionError: it does not read images, or is not made of torch operations.
    """
    if encoder.source != "rgb":
        raise EncoderOptionError(
            f"Expected an encoder of images to export, {encoder.name} reads none."
        )
    encoder.check_ready()

    def sample(rows: int, seed: int) -> dict[str, np.ndarray]:
        return {IMAGES: random_images(rows, encoder.history, size, seed)}

    def reference(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return encoder.encode(inputs[IMAGES])

    return Graph(
        name=f"encoder {encoder.name}",
        module=_Positional(PipelineNetwork(FeaturePipeline(encoder))),
        sample=sample,
        output=TOKENS,
        reference=reference,
        metadata={
            "kind": "encoder",
            "package": egodtm_robot.__version__,
            "encoder": encoder_record(FeaturePipeline(encoder)),
        },
    )


def encoder_record(pipeline: FeaturePipeline) -> dict[str, object]:
    """What a file says of its encoder, as plain JSON."""
    return {
        "name": pipeline.name,
        "fingerprint": pipeline.fingerprint if pipeline.reducer else pipeline.encoder.fingerprint,
        "frames": pipeline.history,
        "tokens": pipeline.num_tokens,
        "dimension": pipeline.dimension,
        "grid": None if pipeline.grid is None else list(pipeline.grid),
    }


def random_images(rows: int, frames: int, size: tuple[int, int], seed: int) -> np.ndarray:
    """Noise, uint8 (rows, frames, H, W, 3): no place of it is like another."""
    shape = (rows, frames, *size, 3)
    return np.random.default_rng([seed, *size]).integers(0, 256, shape, dtype=np.uint8)


class _Positional(nn.Module):
    """A network of one input in the form that :class:`Graph` has for any number of them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.inner = network

    def forward(self, *inputs: Tensor) -> Tensor:
        found: Tensor = self.inner(*inputs)
        return found


def _image_encoder(encoder: Encoder) -> ImageEncoder:
    if not isinstance(encoder, ImageEncoder):
        raise EncoderOptionError(
            f"Expected an encoder made of torch operations, but {encoder.name} computes its tokens "
            "in an encode of its own. Derive it from ImageEncoder and define forward."
        )
    return encoder
