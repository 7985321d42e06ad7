"""Encoders that look at no image: the floor and the ceiling of every comparison."""

import numpy as np

from egodtm_robot.core.errors import EncoderInputError, EncoderOptionError
from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.encoders.base import Encoder, Source


class OracleEncoder(Encoder):
    """Passes the simulator state on: where the kitchen is and how its joints stand.

    No image encoder can know more, so it marks the ceiling.

    Args:
        dimension: P, length of the privileged state; None takes the environment's, by
            :meth:`expect_states`.

    Raises:
        EncoderOptionError: when the dimension is asked for before the environment gave it.
    """

    kind = "oracle"

    source: Source = "privileged"
    code_version = 1

    def __init__(self, dimension: int | None = None) -> None:
        self.name = "oracle"
        self.num_tokens = 1
        self._dimension = dimension

    @property
    def dimension(self) -> int:  # type: ignore[override]
        """P, length of the privileged state."""
        if self._dimension is None:
            raise EncoderOptionError(
                "Encoder oracle has no dimension yet; set encoder.dimension to the length of the "
                "environment's privileged state, or call expect_states with it."
            )
        return self._dimension

    def expect_states(self, size: int) -> None:
        """See :class:`Encoder`."""
        if self._dimension not in (None, size):
            raise EncoderOptionError(
                f"Expected encoder.dimension={size}, the length of the environment's privileged "
                f"state, got {self._dimension}; leave it null to take the environment's."
            )
        self._dimension = size

    @property
    def fingerprint(self) -> str:
        """See :class:`Encoder`."""
        return hash_parts("oracle", self.code_version, self.dimension)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Float states (B, 1, P) -> float32 (B, 1, P)."""
        states = _states(images, self.name)
        if states.shape[2] != self.dimension:
            raise EncoderInputError(
                f"Encoder oracle expects states of length {self.dimension}, got shape "
                f"{states.shape}; set encoder.dimension to what the environment gives."
            )
        return np.array(states, dtype=np.float32)


class NoEncoder(Encoder):
    """Sees nothing, so that a policy has proprioception alone: the floor."""

    kind = "none"

    source: Source = "none"
    code_version = 1

    def __init__(self) -> None:
        self.name = "none"
        self.num_tokens = 1
        self.dimension = 0

    @property
    def fingerprint(self) -> str:
        """See :class:`Encoder`."""
        return hash_parts("none", self.code_version)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Anything of B rows -> float32 (B, 1, 0)."""
        return np.zeros((len(images), 1, 0), dtype=np.float32)


def _states(states: np.ndarray, encoder: str) -> np.ndarray:
    """Raise EncoderInputError unless ``states`` is floating (B, 1, P)."""
    shape = np.shape(states)
    if len(shape) != 3 or shape[1] != 1 or not np.issubdtype(states.dtype, np.floating):
        raise EncoderInputError(
            f"Encoder {encoder} expects float states of shape (B, 1, P), "
            f"got {getattr(states, 'dtype', type(states).__name__)} of shape {shape}."
        )
    return states
