"""What the stem sees made independent of lights, colors and textures.

Two looks of one scene differ in nothing that a policy has to know. How much of what varies in the
stem's features is due to the look is a number between 0 and 1 for each channel; it is lowered. What
keeps the features from losing the rest is a frozen copy of the stem as it was.
"""

import copy
from dataclasses import dataclass

import torch
from torch.nn import functional

from egodtm_robot.core.errors import ConfigurationError
from pretrain.losses.frozen_stem import WithFrozenStem
from pretrain.model.stem import EfficientNetStem


@dataclass
class LooksLossConfig:
    """The parts of the loss of looks."""

    share: float = 1.0
    """Weight of the share of the variance that the looks account for."""

    hold: float = 0.3
    """Weight of giving, from either look, what the frozen stem gives on average over both."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a weight is negative, or both are 0.
        """
        if min(self.share, self.hold) < 0 or not max(self.share, self.hold) > 0:
            raise ConfigurationError(
                "Expected weights share and hold of 0 or more in objective.looks_loss, one of them "
                f"above 0, got {self.share} and {self.hold}."
            )


def look_share(features: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The share of the variance that the looks account for, as a mean over the channels.

    Of a channel that is half the mean squared difference between the looks, divided by the variance
    at one place of the image over all frames and looks: 0 where looks change nothing, 1 where
    nothing else does. It does not depend on the channel's size, and what differs between places but
    never changes does not lower it.

    Args:
        features: (B, T, L, C), B * T of 2 or more: the variance over one frame is the looks' alone.
        other: the same of the other look.

    Returns:
        Scalar in float32. In a training of many processes it is that of the process's own frames.
    """
    both = torch.stack([features, other]).flatten(1, 2).float()  # (2, N, L, C)
    within = (both[0] - both[1]).square().mean((0, 1)) / 2
    total = both.var((0, 1)).mean(0)
    return (within / (total + 1e-6)).mean()


class LooksLoss(WithFrozenStem):
    """Compares what the stem gives for two looks, with each other and with what it gave before.

    The frozen stem is a copy of the stem when the training began, and no part of what is stored.
    There is no translator behind the features: they stay near where they were, so that what was
    trained behind the stem still works, if less well (docs/results/pretraining.md).

    Args:
        stem: whose present weights are copied.
        config: weights of the parts.
    """

    def __init__(self, stem: EfficientNetStem, config: LooksLossConfig) -> None:
        super().__init__(copy.deepcopy(stem))
        self.config = config

    def forward(
        self, frames: torch.Tensor, looks: torch.Tensor, features: torch.Tensor, other: torch.Tensor
    ) -> torch.Tensor:
        """The weighted sum of the parts, a scalar.

        Args:
            frames: uint8 (B, T, H, W, 3).
            looks: the same under another look.
            features: float32 (B, T, L, C), the trained stem's of ``frames``.
            other: of ``looks``.
        """
        config = self.config
        total = features.new_zeros((), dtype=torch.float32)
        if config.share:
            total = total + config.share * look_share(features, other)
        if config.hold:
            total = total + config.hold * self.strayed(frames, looks, features, other)
        return total

    def strayed(
        self, frames: torch.Tensor, looks: torch.Tensor, features: torch.Tensor, other: torch.Tensor
    ) -> torch.Tensor:
        """Mean smooth L1 distance from the frozen stem's mean of both looks.

        In deviations of each channel, and a scalar; arguments as those of :meth:`forward`.
        """
        with torch.no_grad():
            target = (self.frozen.features(frames) + self.frozen.features(looks)).float() / 2
            over = tuple(range(target.ndim - 1))
            # A channel that never changes costs what it strays, and not a billion times that.
            scale = target.std(over, unbiased=False).clamp(min=1e-3)
        wanted = target / scale
        errors = [
            functional.smooth_l1_loss(own.float() / scale, wanted) for own in (features, other)
        ]
        return torch.stack(errors).mean()
