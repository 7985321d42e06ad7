"""Randomly shifted copies of demonstrated images, embedded once and cached beside the plain ones.

Random shifts make policies on images robust (Kostrikov et al., Image Augmentation Is All You Need,
arXiv 2004.13649; robomimic's crops, arXiv 2108.03298). Features of a frozen encoder are cached, so
the images cannot be shifted anew at every step: each frame has K copies, and a minibatch takes one
of them for each row.

A copy shifts all frames of an episode alike, as a camera that is mounted a little off does. The
frames of a window then fit together, for encoders of video and for policies with a history.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from egodtm_robot.core.configuration import Bounds, NonNegativeInt
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.core.seeding import hashed_seed


@dataclass
class AugmentationConfig:
    """Random shifts of demonstrated images: the ``augmentation`` part of the configuration."""

    crops: NonNegativeInt = 0
    """Shifted copies of each frame, K. Each is embedded once and takes as much disk as the plain
    features. Minibatches take a copy or the plain frame for each row, all with the same
    probability; evaluations see plain frames. 0 for none."""

    pixels: Annotated[int, Bounds(1, 64)] = 4
    """Largest shift in each direction, in pixels of the images as they were drawn; what comes into
    view repeats the edge. 4 is usual for images of 84 pixels."""

    def check(self, source: str, encoder: str) -> None:
        """Refuse shifts for an encoder that reads no images.

        Args:
            source: what the encoder reads.
            encoder: its name.

        Raises:
            ConfigurationError: there is nothing to shift.
        """
        if self.crops and source != "rgb":
            raise ConfigurationError(
                f"Expected augmentation.crops=0 for encoder {encoder}, which reads no images, got "
                f"{self.crops}."
            )

    def shifts(self) -> "list[EpisodeShift]":
        """One for each copy."""
        return [EpisodeShift(self.pixels, copy) for copy in range(self.crops)]


@dataclass(frozen=True)
class EpisodeShift:
    """One shifted copy of all episodes of a store.

    Attributes:
        pixels: largest shift in each direction.
        copy: its number. The shifts of a copy do not depend on how many there are.
    """

    pixels: int
    copy: int

    def fingerprint(self, encoder: str) -> str:
        """Of the features that an encoder of that fingerprint makes of this copy."""
        return hash_parts("episode_shift", encoder, self.pixels, self.copy)

    def offsets(self, episodes: np.ndarray) -> np.ndarray:
        """How far each episode is shifted.

        Args:
            episodes: int64 (N,), their indices in the store.

        Returns:
            int64 (N, 2), down and to the right, each from ``-pixels`` to ``pixels``.
        """
        drawn = {int(episode): self._draw(int(episode)) for episode in np.unique(episodes)}
        return np.array([drawn[int(episode)] for episode in episodes]).reshape(-1, 2)

    def _draw(self, episode: int) -> np.ndarray:
        seed = hashed_seed(f"episode_shift:{self.pixels}:{self.copy}:{episode}".encode())
        return np.random.default_rng(seed).integers(-self.pixels, self.pixels + 1, 2)


def shift_images(images: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Move what is seen, repeating the edges.

    Args:
        images: (N, ..., H, W, 3).
        offsets: int64 (N, 2), pixels down and to the right.

    Returns:
        New images of the same shape and type.
    """
    height, width = images.shape[-3:-1]
    shifted = np.empty_like(images)
    for offset in np.unique(offsets, axis=0):
        chosen = (offsets == offset).all(axis=1)
        rows = np.clip(np.arange(height) - offset[0], 0, height - 1)
        columns = np.clip(np.arange(width) - offset[1], 0, width - 1)
        shifted[chosen] = images[chosen][..., rows, :, :][..., columns, :]
    return shifted
