"""A stem that says what is wanted of the one that learns."""

from collections.abc import Callable
from typing import Any

from torch import nn

from pretrain.model.stem import EfficientNetStem


class WithFrozenStem(nn.Module):
    """A loss that compares with a stem that does not learn.

    That stem is no part of what is stored or trained: whoever makes the loss has it again. It moves
    to a device with everything else.

    Args:
        stem: is frozen, in place.
    """

    def __init__(self, stem: EfficientNetStem) -> None:
        super().__init__()
        # In a tuple it is no submodule, and so in no state.
        self._kept = (stem.requires_grad_(False).eval(),)

    @property
    def frozen(self) -> EfficientNetStem:
        """The stem."""
        return self._kept[0]

    def _apply(self, change: Callable[[Any], Any], recurse: bool = True) -> Any:
        self.frozen._apply(change)
        return super()._apply(change, recurse)
