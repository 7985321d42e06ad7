"""What every encoder is: images (or a simulator state) in, tokens out, with a fingerprint.

An encoder is frozen. The same weights, preprocessing and options give the same features wherever
and whenever they are computed, so that demonstrations are embedded once and a rollout sees what
the policy was trained on.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import nn

from egodtm_robot.core.constant_batches import constant_batches
from egodtm_robot.core.errors import (
    CheckpointMismatchError,
    EncoderInputError,
    EncoderOptionError,
)
from egodtm_robot.core.fingerprints import hash_parts, hash_tensors
from egodtm_robot.core.kinds import declared_kind

if TYPE_CHECKING:
    from egodtm_robot.demos.store import DemonstrationStore

Source = Literal["rgb", "privileged", "none"]

Output = Literal["grid", "class"]
"""What a vision model gives: tokens in the image's layout, or one token for the whole image."""

_FIRST_FINGERPRINTS = {
    "efficientnet_lite0": ("egodtm_robot.encoders.efficientnet", "EfficientNetLite0Encoder"),
    "egodtm": ("egodtm_robot.encoders.egodtm", "EgoDTMEncoder"),
    "huggingface": ("egodtm_robot.encoders.huggingface", "HuggingFaceEncoder"),
    "pixels": ("egodtm_robot.encoders.pixels", "PixelEncoder"),
    "transformers": ("egodtm_robot.encoders.huggingface", "TransformersEncoder"),
    "vit_tiny_random": ("egodtm_robot.encoders.vision_transformer", "RandomViTEncoder"),
}
"""What the first encoders are hashed by: the places of their classes before there were kinds.

Feature caches and policies hold these fingerprints, so the words stay, wherever the classes now
lie. The list is closed: an encoder that is added is hashed by its kind alone.
"""

DEFAULT_BATCH_SIZE = 8
"""Windows a forward pass. On a CPU larger batches gain nothing (see docs/results/speed.md)."""

LARGEST_SHARED_WEIGHTS = 16_000_000
"""Weights up to which windows share a forward pass on a CPU, where nobody said otherwise.

A larger network needs a tenth more processor time for windows one by one (docs/results/speed.md),
and up to eight times as much for a batch that is filled up with empty rows.
"""


class Encoder(ABC):
    """Turns windows of observations into tokens.

    Attributes:
        kind: what stored things call the class, see :mod:`egodtm_robot.core.kinds`. It is optional
            in a class of your own; without one, moving its file changes the fingerprint.
        name: what tables and result files call it.
        source: which observation it reads. ``rgb``: uint8 images of one camera; ``privileged``: the
            simulator state; ``none``: nothing but the number of rows.
        history: length T of the window that one encoding reads, at least 1.
        num_tokens: L, tokens a window.
        dimension: D, channels a token.
        grid: (rows, columns) of the tokens where they keep the image's layout, row-major from the
            top left, with rows * columns == L; None for a global feature.
    """

    kind: ClassVar[str]
    name: str
    source: Source
    history: int = 1
    num_tokens: int
    dimension: int
    grid: tuple[int, int] | None = None

    @abstractmethod
    def encode(self, images: np.ndarray) -> np.ndarray:
        """Encode windows.

        Args:
            images: uint8 (B, T, H, W, 3) RGB for ``source == "rgb"``; float32 (B, T, P) states for
                the others. T equals ``history``. B may be 0.

        Returns:
            float32 (B, L, D). A row does not depend on the other rows.

        Raises:
            EncoderInputError: wrong shape or type.
        """

    @classmethod  # noqa: B027
    def check_sources(cls, options: Mapping[str, Any]) -> None:
        """Refuse options whose weights cannot be had, without reading any.

        A grid of runs asks it before the first run. By default there is nothing to look for.

        Args:
            options: what the class would be made with, those left out with their defaults.

        Raises:
            EgoDTMRobotError: the constructor's own word on a file that is not named or not there,
                or on a package that is not installed.
        """

    def expect_states(self, size: int) -> None:  # noqa: B027
        """Take the length of the environment's privileged state, before anything is encoded.

        Encoders of images ignore it.

        Args:
            size: V, length of the privileged state.

        Raises:
            EncoderOptionError: the encoder was configured for another length.
        """

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """16 hexadecimal digits over weights, preprocessing, options and code version."""

    def adapted_to(
        self,
        store: "DemonstrationStore",
        cameras: Sequence[str],
        episodes: int,
        modality: str,
        progress: bool = True,
    ) -> "Encoder":
        """The encoder after it has seen demonstrations, for encoders that learn from them.

        Called before anything is embedded. All others are frozen and stay as they are.

        Args:
            store: the demonstrations.
            cameras: whose images may be seen.
            episodes: how many of the first demonstrations may be seen.
            modality: which images, such as ``rgb``.
            progress: whether to write progress to standard error.
        """
        return self

    def check_ready(self) -> None:  # noqa: B027
        """Refuse to give features that are kept before :meth:`adapted_to` where it matters.

        Raises:
            EncoderOptionError: the encoder has seen no demonstrations yet.
        """

    def adapted_weights(self) -> dict[str, torch.Tensor]:
        """What :meth:`adapted_to` has learned, to be kept with a policy; empty for all others."""
        return {}

    def with_weights(self, weights: Mapping[str, torch.Tensor]) -> "Encoder":
        """The encoder with what :meth:`adapted_weights` gave.

        Raises:
            CheckpointMismatchError: they are not of this encoder.
        """
        raise CheckpointMismatchError(
            f"Expected a policy of the frozen encoder {self.name}, got one of an encoder that was "
            "adapted to its demonstrations. Use the encoder configuration of that run."
        )

    def to(self, device: torch.device | str) -> Self:
        """Move the weights to ``device``; encoders without weights stay as they are."""
        return self


class ImageEncoder(Encoder):
    """An encoder of camera images by a torch network, in batches of constant size.

    A subclass builds its network, passes it on, and defines :meth:`forward`. Rows are padded to
    full batches before the forward pass, because a matrix product over another number of rows may
    round differently: a row's features would depend on how many others happened to come with it.

    Args:
        network: holds every weight and buffer that the result depends on; set to eval mode here.
        dimension: D, channels a token.
        grid: (rows, columns) of the tokens, or None for one global token.
        history: T, frames a window.
        batch_size: windows a forward pass, at least 1. Not part of the fingerprint: it moves
            results by rounding only. None takes 1 for networks of more than
            ``LARGEST_SHARED_WEIGHTS`` on a CPU, else ``DEFAULT_BATCH_SIZE``. The number of
            environments has no say in it: outcomes would depend on it by rounding.
        options: everything besides weights that the result depends on (preprocessing, layer,
            resolution, seed, ...), as values JSON can hold.
    """

    source: Source = "rgb"
    code_version: int = 1
    """Part of the fingerprint: raised with every change of code that changes features."""

    def __init__(
        self,
        network: nn.Module,
        dimension: int,
        grid: tuple[int, int] | None = None,
        history: int = 1,
        batch_size: int | None = DEFAULT_BATCH_SIZE,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if (batch_size is not None and batch_size < 1) or history < 1:
            raise EncoderOptionError(
                f"Expected batch_size and history of at least 1, got {batch_size} and {history}."
            )
        self.name = type(self).__name__
        self.network = network.eval().requires_grad_(False)
        self.dimension = dimension
        self.grid = grid
        self.num_tokens = 1 if grid is None else grid[0] * grid[1]
        self.history = history
        self._batch_size = batch_size
        self._weights = sum(parameter.numel() for parameter in network.parameters())
        self.options = dict(options or {})
        self.device = torch.device("cpu")
        self.hash_weights()

    @abstractmethod
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Encode one batch: uint8 (b, T, H, W, 3) on the encoder's device -> (b, L, D)."""

    def hash_weights(self) -> None:
        """Make the fingerprint anew, after the network got other weights."""
        self._fingerprint = hash_parts(
            *_identity(type(self)),
            self.code_version,
            {**self.options, "history": self.history, "grid": self.grid},
            hash_tensors(self.network.state_dict()),
        )

    @property
    def batch_size(self) -> int:
        """Windows a forward pass, on the device that the encoder is on."""
        if self._batch_size is not None:
            return self._batch_size
        one_by_one = self.device.type == "cpu" and self._weights > LARGEST_SHARED_WEIGHTS
        return 1 if one_by_one else DEFAULT_BATCH_SIZE

    @property
    def fingerprint(self) -> str:
        """See :class:`Encoder`."""
        return self._fingerprint

    def to(self, device: torch.device | str) -> Self:
        """Move the weights to ``device``."""
        self.device = torch.device(device)
        self.network.to(self.device)
        return self

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Encode uint8 (B, T, H, W, 3) -> float32 (B, L, D), see :class:`Encoder`."""
        check_images(images, self.history, self.name)
        features = np.empty((len(images), self.num_tokens, self.dimension), dtype=np.float32)
        # TF32 and autotuned kernels would let the same image give different features on a GPU.
        deterministic = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with torch.inference_mode(), deterministic:
            size = self.batch_size
            for batch, rows in constant_batches({"images": images}, size):
                tokens = self.forward(torch.from_numpy(batch["images"]).to(self.device))
                expected = (size, self.num_tokens, self.dimension)
                if tuple(tokens.shape) != expected:
                    raise EncoderOptionError(
                        f"Encoder {self.name} declares tokens of shape {expected} and its forward "
                        f"gave {tuple(tokens.shape)}; declare grid and dimension to match."
                    )
                features[rows] = tokens[: rows.stop - rows.start].float().cpu().numpy()
        return features


def _identity(encoder: type[Encoder]) -> tuple[str, ...]:
    """What stands for an encoder's class in its fingerprint."""
    kind = declared_kind(encoder)
    if kind is None:
        return encoder.__module__, encoder.__qualname__
    return _FIRST_FINGERPRINTS.get(kind, (kind,))


def check_images(images: np.ndarray, history: int, encoder: str) -> None:
    """Raise EncoderInputError unless ``images`` is uint8 (B, history, H, W, 3)."""
    shape = np.shape(images)
    if len(shape) != 5 or shape[1] != history or shape[4] != 3 or images.dtype != np.uint8:
        raise EncoderInputError(
            f"Encoder {encoder} expects uint8 RGB windows of shape (B, {history}, H, W, 3), "
            f"got {getattr(images, 'dtype', type(images).__name__)} of shape {shape}. "
            "Images go in as they come from the camera; the encoder normalizes them itself."
        )
