"""A narrow, noisy passage for what is seen, so that a policy cannot learn episodes by sight."""

import math

import torch
from torch import Tensor, nn

from policies.pooling import initialize_linear

NARROW = 64
"""Pooled vectors up to this width (a simulator state, keypoints) need no bottleneck."""

_INPUT_NORM = 8.0
"""Root mean square length to which a camera's vector is brought in front of its bottleneck, so that
the learning rate means the same for any number of components."""


class Bottleneck(nn.Linear):
    """A linear map of a pooled vector to a few numbers, noisy while training."""

    def __init__(self, inputs: int, outputs: int, noise: float) -> None:
        super().__init__(inputs, outputs)
        self.noise = noise
        self.input_scale = _INPUT_NORM / math.sqrt(inputs)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Small weights: what is seen comes in as far as it helps."""
        initialize_linear(self, generator)
        self.weight.mul_(0.1)
        self.bias.zero_()

    def forward(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(..., F) of mean square 1 to (..., k); ``generator`` draws the noise of training."""
        outputs = super().forward(inputs * self.input_scale)
        if self.training and generator is not None:
            outputs = outputs + self.noise * torch.randn(
                outputs.shape, generator=generator, device=outputs.device
            )
        return outputs
