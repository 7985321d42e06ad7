"""Fewer channels a token, by principal components fitted on demonstrations.

Token grids of a few hundred channels do not train on a CPU and overfit with a hundred
demonstrations. One projection serves all tokens, so that the grid stays a grid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from egodtm_robot.core.errors import CheckpointMismatchError, EncoderInputError
from egodtm_robot.core.fingerprints import hash_tensors
from egodtm_robot.core.principal_components import scaled_components

MAXIMUM_CHANNELS = 64
FIT_TOKENS = 50_000
"""Tokens that the components are fitted on; more do not change them visibly."""

_CODE_VERSION = 1


@dataclass(frozen=True)
class Reducer:
    """An affine map of channels: ``(tokens - mean) @ components``.

    Attributes:
        mean: float32 (D,).
        components: float32 (D, K), scaled so that a channel of the output varies by about 1.
    """

    mean: np.ndarray
    components: np.ndarray

    @classmethod
    def fit(cls, tokens: Sequence[np.ndarray], channels: int = MAXIMUM_CHANNELS) -> Self:
        """Find the directions in which tokens vary most at their own place in the image.

        What differs between places but never changes (a static background) says nothing about the
        state of the world, so variation is taken around each place's and camera's own mean.

        Args:
            tokens: float32 (N, L, D), one array a camera, N >= 2.
            channels: K at most.

        Returns:
            The reducer, the same for the same tokens: signs are fixed by the largest entry.
        """
        dimension = tokens[0].shape[2]
        covariance = np.zeros((dimension, dimension))
        total = np.zeros(dimension)
        count = 0
        for array in tokens:
            centered = array - array.mean(axis=0, dtype=np.float64).astype(np.float32)
            flat = centered.reshape(-1, dimension)
            for start in range(0, len(flat), 8192):
                block = flat[start : start + 8192].astype(np.float64)
                covariance += block.T @ block
            total += array.sum(axis=(0, 1), dtype=np.float64)
            count += len(flat)
        variances, directions = np.linalg.eigh(covariance / count)
        components = scaled_components(
            directions[:, ::-1][:, :channels], variances[::-1][:channels]
        )
        return cls(
            mean=(total / count).astype(np.float32),
            components=np.ascontiguousarray(components, dtype=np.float32),
        )

    @property
    def dimension(self) -> int:
        """K, channels a token afterwards."""
        return int(self.components.shape[1])

    @property
    def fingerprint(self) -> str:
        """Hash of the parameters."""
        return hash_tensors(self.tensors() | {"code_version": torch.tensor(_CODE_VERSION)})

    def transform(self, tokens: np.ndarray) -> np.ndarray:
        """Float32 (N, L, D) -> float32 (N, L, K).

        Raises:
            EncoderInputError: D is not what the reducer was fitted on.
        """
        if tokens.ndim != 3 or tokens.shape[2] != len(self.mean):
            raise EncoderInputError(
                f"Expected tokens of shape (N, L, {len(self.mean)}), got {tokens.shape}; the "
                "reducer was fitted on another encoder's tokens."
            )
        out = np.empty((*tokens.shape[:2], self.dimension), dtype=np.float32)
        for start in range(0, len(tokens), 256):
            out[start : start + 256] = (tokens[start : start + 256] - self.mean) @ self.components
        return out

    def tensors(self) -> dict[str, torch.Tensor]:
        """The parameters by name, for a safetensors file."""
        return {
            "mean": torch.from_numpy(self.mean.copy()),
            "components": torch.from_numpy(self.components.copy()),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Self:
        """Inverse of :meth:`tensors`.

        Raises:
            CheckpointMismatchError: names or shapes are not those of a reducer.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        matching = (
            shapes.keys() == {"mean", "components"}
            and len(shapes["mean"]) == 1
            and len(shapes["components"]) == 2
            and shapes["mean"][0] == shapes["components"][0]
        )
        if not matching:
            raise CheckpointMismatchError(
                f"Expected the reducer's tensors mean (D,) and components (D, K), got {shapes}."
            )
        return cls(
            mean=tensors["mean"].float().numpy(), components=tensors["components"].float().numpy()
        )
