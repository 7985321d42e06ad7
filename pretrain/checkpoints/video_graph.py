"""The video side of a pretrained model as a network that other runtimes can take."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

import egodtm_robot
from egodtm_robot.core.fingerprints import hash_tensors
from egodtm_robot.core.graphs import Graph
from egodtm_robot.core.images import resize, to_channels_first
from pretrain.model import EgoDTM

VideoOutput = Literal["patches", "embedding"]
"""``patches``: the tokens (B, T, L, D) of all frames, row by row from the top left. ``embedding``:
the clip's place (B, J) in the space that it shares with texts, of length 1."""

FRAMES = "frames"


def video_graph(model: EgoDTM, output: VideoOutput, frames: int, size: tuple[int, int]) -> Graph:
    """The video encoder with its preprocessing.

    Args:
        model: on the CPU.
        output: what the file gives.
        frames: T, frames of a clip.
        size: (height, width) of the frames that it will be given, pixels.
    """
    network = _VideoNetwork(model, output).eval()

    def sample(rows: int, seed: int) -> dict[str, np.ndarray]:
        shape = (rows, frames, *size, 3)
        return {FRAMES: np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)}

    def reference(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = network(torch.from_numpy(inputs[FRAMES])).numpy()
        return found

    parts = {name: value for name, value in model.state_dict().items() if _of_video(name)}
    return Graph(
        name="the video encoder",
        module=network,
        sample=sample,
        output=output,
        reference=reference,
        metadata={
            "kind": "video_encoder",
            "package": egodtm_robot.__version__,
            "weights": hash_tensors(parts),
            "resolution": model.config.vision.image_size,
        },
    )


class _VideoNetwork(nn.Module):
    """Frames of any size to tokens or to an embedding."""

    def __init__(self, model: EgoDTM, output: VideoOutput) -> None:
        super().__init__()
        # The parts that are used are registered, the text encoder and the decoders are not.
        self._model = (model,)
        self.visual = model.visual
        self.image_projection = model.image_projection if output == "embedding" else None
        self.output = output
        self.side = model.config.vision.image_size

    def forward(self, *inputs: Tensor) -> Tensor:
        """Uint8 (B, T, H, W, 3) -> see :data:`VideoOutput`."""
        (frames,) = inputs
        pixels = resize(to_channels_first(frames.flatten(0, 1)), (self.side, self.side), "bicubic")
        resized = pixels.permute(0, 2, 3, 1).to(torch.uint8).unflatten(0, (-1, frames.shape[1]))
        features = self._model[0].encode_video(resized)
        tokens: Any = features.patch_tokens if self.output == "patches" else features.embedding
        found: Tensor = tokens.float()
        return found


def _of_video(name: str) -> bool:
    return name.startswith(("visual.", "image_projection"))
