"""How a detector is trained: the ``training`` part of the configuration."""

import math
from dataclasses import dataclass, field
from typing import Literal

from egodtm_robot.core.configuration import Workers
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.training.identity import NOT_DECISIVE


@dataclass
class DetectorTrainingConfig:
    """The ``training`` part of the configuration."""

    batch_size: int = 32
    """Pictures a step."""

    learning_rate: float = 1e-3
    """AdamW's, at the end of the warm-up. 2e-4 for published detectors and those of the DETR kind.
    """

    backbone_share: float = 0.0
    """The backbone's rate as a share of it. 0 keeps ImageNet's features as they are and saves half
    of the time; 0.1 for published detectors, 1 for random ones."""

    warmup: float = 0.05
    """Share of the steps in which the rate rises from zero; then it falls by a cosine to zero."""

    weight_decay: float = 1e-4
    """Decoupled, on weight matrices alone."""

    clip_norm: float = 0.1
    """Gradients of a larger norm are scaled down to it."""

    precision: Literal["float32", "bf16"] = "float32"
    """``float32``, or ``bf16`` for the products inside the model."""

    validate_every: int = 500
    """Steps between two looks at the validation pictures."""

    save_every: int = field(default=250, metadata=NOT_DECISIVE)
    """Steps between two states to resume from."""

    log_every: int = field(default=10, metadata=NOT_DECISIVE)
    """Steps that one entry of the curves is the mean of."""

    workers: Workers = field(default=1, metadata=NOT_DECISIVE)
    """Processes that read and prepare pictures; 0 does it in between steps."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a number is out of range.
        """
        for name in ("batch_size", "validate_every", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Expected {name} >= 1, got {getattr(self, name)}.")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0 or not math.isfinite(getattr(self, name)):
                raise ConfigurationError(f"Expected {name} > 0, got {getattr(self, name)}.")
        if not 0 <= self.backbone_share < math.inf:
            raise ConfigurationError(f"Expected backbone_share >= 0, got {self.backbone_share}.")
        if not 0 <= self.warmup < 1 or not self.weight_decay >= 0:
            raise ConfigurationError(
                "Expected warmup in [0, 1) and weight_decay >= 0, got "
                f"{self.warmup} and {self.weight_decay}."
            )
