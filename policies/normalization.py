"""Standardization of what a policy reads and writes, fitted on demonstrations, saved as weights."""

import torch
from torch import Tensor, nn

_ROWS_AT_ONCE = 65_536


class Standardizer(nn.Module):
    """``(x - mean) / scale`` over the last axis, with statistics kept in buffers.

    Args:
        dimension: size D of the last axis; 0 is allowed (an encoder that sees nothing).
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("scale", torch.ones(dimension))

    def reset(self) -> None:
        """Back to the identity."""
        self.mean.zero_()
        self.scale.fill_(1.0)

    @torch.no_grad()
    def fit(self, values: Tensor, shared_scale: bool = False) -> None:
        """Take mean and standard deviation from ``values``.

        A dimension that hardly moves (less than a thousandth of the typical one) is centered and
        keeps its unit: dividing by its spread would turn rounding noise into a signal, and a
        value off that line at test time into an explosion.

        Args:
            values: (..., D), every leading axis counted as samples.
            shared_scale: divide all dimensions by their common root mean square instead of each
                by its own deviation. It keeps the order of importance that a principal component
                basis carries, where whitening would lift the noise of the last components.
        """
        if values.numel() == 0:
            self.reset()
            return
        rows = values.reshape(-1, values.shape[-1])
        total = torch.zeros(rows.shape[1], dtype=torch.float64)
        for part in rows.split(_ROWS_AT_ONCE):
            total += part.double().sum(0).cpu()
        mean = total / rows.shape[0]
        squares = torch.zeros_like(mean)
        for part in rows.split(_ROWS_AT_ONCE):
            squares += (part.double().cpu() - mean).square().sum(0)
        variance = squares / rows.shape[0]
        typical = variance.mean().sqrt()
        if shared_scale:
            deviation = typical.expand_as(mean) if typical > 0 else torch.ones_like(mean)
        else:
            deviation = variance.sqrt()
            flat = deviation <= 1e-3 * typical
            deviation = torch.where(flat, torch.ones_like(deviation), deviation)
        self.mean.copy_(mean.float())
        self.scale.copy_(deviation.float())

    def forward(self, values: Tensor) -> Tensor:
        """Standardize ``values`` (..., D)."""
        return (values - self.mean) / self.scale

    def inverse(self, standardized: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        return standardized * self.scale + self.mean
