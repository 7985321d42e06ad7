"""Means of what the steps give, from one entry of the curves to the next."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class StepMeans:
    """Sums named values of steps until an entry of the curves is written.

    Tensors stay on their device, so that a step does not wait for the one before::

        means = StepMeans()
        for step in range(10):
            means.add({"loss": loss})
        entry = means.take()  # {"loss": 0.31}
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self.steps = 0
        """Number of steps since the last entry."""

    def add(self, values: Mapping[str, Tensor | float]) -> None:
        """Add the values of one step: scalars, the same names at each step."""
        for name, value in values.items():
            own = value.detach() if isinstance(value, Tensor) else value
            self._sums[name] = self._sums.get(name, 0.0) + own
        self.steps += 1

    def take(self, over_processes: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        """Give the means since the last entry and begin the next one.

        Args:
            over_processes: makes the mean over the processes that train together of a tensor (N,);
                None for a single process.

        Raises:
            ValueError: no step was added since the last entry.
        """
        if not self.steps:
            raise ValueError("Expected a step since the last entry of the curves, got none.")
        sums, steps = self._sums, self.steps
        self._sums, self.steps = {}, 0
        if over_processes is None:
            return {name: float(total) / steps for name, total in sums.items()}
        stacked = torch.stack([torch.as_tensor(total).float() for total in sums.values()])
        return dict(zip(sums, over_processes(stacked / steps).tolist(), strict=True))
