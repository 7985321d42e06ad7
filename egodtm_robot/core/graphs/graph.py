"""What is to be written: a network with named inputs, and what it is compared with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from egodtm_robot.core.errors import ConfigurationError, EgoDTMRobotError


class GraphExportError(EgoDTMRobotError, RuntimeError):
    """A network cannot be written as a file for another runtime, or the file does not match it."""


def check_image_size(size: Sequence[int]) -> None:
    """Refuse a setting ``image_size`` that no image has.

    Raises:
        ConfigurationError: it is not a height and a width from 1 to 4096 pixels.
    """
    if len(size) != 2 or not all(1 <= side <= 4096 for side in size):
        raise ConfigurationError(
            f"Expected image_size=[HEIGHT,WIDTH], each from 1 to 4096 pixels, got {list(size)}."
        )


@dataclass(frozen=True)
class Graph:
    """A network that is to be written.

    Attributes:
        name: what messages call it.
        module: takes the inputs as tensors, in their order, and returns a tensor. The first axis of
            each is the batch, of any size.
        sample: makes inputs of a number of rows from a seed, arrays by name, in order.
        output: name of what it returns.
        reference: what the original gives for such inputs, computed as it always is.
        unit: what a difference of the output is measured in, of its last axis; None takes the
            largest magnitude of the output, at least 1.
        metadata: JSON that the file carries.
    """

    name: str
    module: nn.Module
    sample: Callable[[int, int], Mapping[str, np.ndarray]]
    output: str
    reference: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    unit: np.ndarray | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
