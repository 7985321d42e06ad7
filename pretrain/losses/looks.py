"""What the stem sees held to what stays the same under other lights, colors and textures."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from pretrain.model.stem import EfficientNetStem


class LookTarget(nn.Module):
    """From either of two looks, the stem must give what its frozen self gives on average over both.

    The best answer to that is what the scene's shapes tell of the first features, and nothing of
    what the lamp and the paint do. The features stay where they were (there is no translator), so
    that what was trained behind the stem goes on working. A frozen copy of the stem as it was when
    the training began says what is wanted; it is no part of what is stored.

    Args:
        stem: whose present weights are copied.
    """

    def __init__(self, stem: EfficientNetStem) -> None:
        super().__init__()
        # In a tuple it is no submodule, and so in no state.
        self._frozen = (copy.deepcopy(stem).requires_grad_(False).eval(),)

    def forward(
        self, frames: torch.Tensor, looks: torch.Tensor, features: torch.Tensor, other: torch.Tensor
    ) -> torch.Tensor:
        """Mean smooth L1 distance, in deviations of each channel.

        Args:
            frames: uint8 (B, T, H, W, 3).
            looks: the same under another look.
            features: float32 (B, T, L, C), the trained stem's of ``frames``.
            other: of ``looks``.
        """
        frozen = self._frozen[0]
        with torch.no_grad():
            target = (frozen.features(frames) + frozen.features(looks)).float() / 2
            over = tuple(range(target.ndim - 1))
            # A channel that never changes costs what it strays, and not a billion times that.
            scale = target.std(over, unbiased=False).clamp(min=1e-3)
        wanted = target / scale
        errors = [
            functional.smooth_l1_loss(own.float() / scale, wanted) for own in (features, other)
        ]
        return torch.stack(errors).mean()

    def _apply(self, change: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        # Moves to a device like everything else.
        self._frozen[0]._apply(change)
        return super()._apply(change, recurse)
