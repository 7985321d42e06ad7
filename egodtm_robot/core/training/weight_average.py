"""A moving average of a model's weights, which is what is measured and kept.

The last steps of a training pull its weights to and fro; their average lies in the middle.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn


class WeightAverage:
    """The exponential moving average of a model's parameters.

    In the beginning it follows faster, by a decay of ``(1 + n) / (10 + n)`` after n steps where
    that is smaller, so that a short run's average is not its initial weights (as in TensorFlow's
    ``ExponentialMovingAverage``).

    Args:
        model: with the weights to begin with. Only parameters that learn are averaged.
        decay: in (0, 1): what is kept of the average at a step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.decay = decay
        self._average = {name: p.detach().clone() for name, p in self._learning()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after so many steps, from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self._learning():
            self._average[name].lerp_(parameter.detach(), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights within, and its own again afterwards."""
        own = {name: parameter.detach().clone() for name, parameter in self._learning()}
        self._fill(self._average)
        try:
            yield
        finally:
            self._fill(own)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The average by the names of the parameters, for a state to resume from."""
        return dict(self._average)

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take up what :meth:`tensors` gave."""
        for name, average in self._average.items():
            average.copy_(tensors[name])

    def _learning(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    @torch.no_grad()
    def _fill(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self._learning():
            parameter.copy_(values[name])
