"""Random numbers of a policy that samples, drawn for each environment by itself."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class RowGenerators:
    """One generator for each row of a batch, in the place of a single ``torch.Generator``.

    What is drawn for a row depends on its own seed alone, not on the number of rows beside it, so
    that an episode is the same however many environments run at once.

    Args:
        seeds: int64 (B,), not negative.
        device: where the drawn numbers go. They are drawn on the CPU, the same for every device.
    """

    def __init__(self, seeds: Sequence[int] | np.ndarray, device: torch.device | str) -> None:
        self._generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self._device = torch.device(device)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, float32 (B, *shape)."""
        drawn = [torch.randn(shape, generator=generator) for generator in self._generators]
        return torch.stack(drawn).to(self._device)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), float32 (B, *shape)."""
        drawn = [torch.rand(shape, generator=generator) for generator in self._generators]
        return torch.stack(drawn).to(self._device)
