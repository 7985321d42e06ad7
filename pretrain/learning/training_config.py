"""How a model is trained: the ``training`` part of the configuration."""

import math
from dataclasses import dataclass, field

from egodtm_robot.core.configuration import Threads, Workers
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.training.identity import NOT_DECISIVE
from egodtm_robot.core.training.precision import Precision


@dataclass
class TrainingConfig:
    """The ``training`` part of the configuration."""

    batch_size: int = 64
    """Clips a step in all processes together; each is compared with the texts of all others."""

    image_share: float = 0.0
    """Share of the steps, from the first on, whose samples are single frames. A model from nothing
    sees several times as many scenes in the same time; the published one starts from CLIP, trained
    on images."""

    image_batch_size: int = 256
    """Frames of such a step in all processes together."""

    learning_rate: float = 1e-3
    """AdamW's, at the end of the warm-up. For a small model from nothing; the published one starts
    from CLIP's weights with 3e-5."""

    stem_rate: float = 0.0
    """Learning rate of a stem that comes with weights of its own (``model.vision.stem``), as a
    share of ``learning_rate``; 0 leaves it as ImageNet taught it, which saves its backward pass:
    two fifths of a step on single frames, more on clips."""

    text_rate: float = 1.0
    """Learning rate of the text encoder, as a share of ``learning_rate``; 0 leaves it as it is: the
    video encoder then learns to meet texts that stay where they were, as a checkpoint of CLIP or
    of an earlier run (``initial``) has placed them."""

    warmup: float = 0.05
    """Share of the steps in which the rate rises from zero; then it falls by a cosine to zero."""

    weight_decay: float = 0.05
    """Decoupled, on weight matrices alone: not on biases, norms, embeddings or queries."""

    beta1: float = 0.9
    """Decay of AdamW's mean of gradients."""

    beta2: float = 0.98
    """Decay of AdamW's mean of squares. CLIP's; the published run has 0.999, which is slow to
    notice a change within a short run."""

    clip_norm: float = 1.0
    """Gradients of a larger norm are scaled down to it."""

    ema: float | None = None
    """Decay of a moving average of the weights, such as 0.999: validated, measured and exported are
    the averaged weights. Null keeps those of the last step."""

    precision: Precision = "float32"
    """``float32``, or ``bf16`` or ``fp16`` for the products inside the model."""

    compile: bool = field(default=False, metadata=NOT_DECISIVE)
    """Whether torch compiles the model: minutes of waiting at the start, faster steps after."""

    validate_every: int = 250
    """Steps between two looks at the validation clips."""

    save_every: int = field(default=100, metadata=NOT_DECISIVE)
    """Steps between two states to resume from."""

    log_every: int = field(default=10, metadata=NOT_DECISIVE)
    """Steps that one entry of the curves is the mean of."""

    workers: Workers = field(default=1, metadata=NOT_DECISIVE)
    """Processes a trainer that read and prepare clips; 0 does it in between steps."""

    threads: Threads | None = field(default=None, metadata=NOT_DECISIVE)
    """CPU threads of a trainer; null shares the cores among the trainers of a machine, unless
    OMP_NUM_THREADS says otherwise."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a number is out of range.
        """
        for name in ("batch_size", "image_batch_size", "validate_every", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Expected {name} >= 1, got {getattr(self, name)}.")
        if not 0 <= self.image_share <= 1:
            raise ConfigurationError(f"Expected image_share in [0, 1], got {self.image_share}.")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0 or not math.isfinite(getattr(self, name)):
                raise ConfigurationError(f"Expected {name} > 0, got {getattr(self, name)}.")
        for name in ("warmup", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigurationError(f"Expected {name} in [0, 1), got {getattr(self, name)}.")
        for name in ("stem_rate", "text_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"Expected {name} in [0, 1], got {getattr(self, name)}.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ConfigurationError(f"Expected ema in (0, 1) or null, got {self.ema}.")
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigurationError(
                f"Expected a finite weight_decay >= 0, got {self.weight_decay}."
            )


def image_steps(config: TrainingConfig, steps: int) -> int:
    """How many of ``steps`` steps, the first ones, are on single frames."""
    return round(config.image_share * steps)
