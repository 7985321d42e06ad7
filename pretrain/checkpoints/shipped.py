"""The checkpoint that comes with the package."""

from importlib import resources
from pathlib import Path

from egodtm_robot.core.errors import WeightsError

SHIPPED = "egodtm_tiny.safetensors"
"""In ``pretrain/assets``, beside its card."""


def shipped_checkpoint() -> Path:
    """The path of egodtm-tiny's weights.

    Raises:
        WeightsError: this build of the package does not have them.
    """
    path = Path(str(resources.files("pretrain"))) / "assets" / SHIPPED
    if not path.is_file():
        raise WeightsError(
            f"Expected the weights of egodtm-tiny at {path}, found none: this build comes without "
            "them. Train a model with `python pretrain/run.py` and name its checkpoint: "
            "encoder.checkpoint=RUN/checkpoints/NAME.safetensors."
        )
    return path
