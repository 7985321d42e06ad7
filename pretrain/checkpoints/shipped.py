"""The checkpoints that come with the package."""

from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from egodtm_robot.core.errors import WeightsError

ASSETS = Path(str(resources.files("pretrain"))) / "assets"

SHIPPED_NAME = "egodtm_tiny"
"""What ``encoder=egodtm`` and ``pretrain.evaluate`` take where none is named."""

LOOKS_NAME = "egodtm_tiny_looks"
"""The same with a stem that was taught to see through lights, colors and textures, and blocks that
were trained on it: what ``depth=egodtm`` and the default encoder of policies take."""

ShippedName = Literal["egodtm_tiny", "egodtm_tiny_looks"]

SHIPPED: tuple[ShippedName, ...] = get_args(ShippedName)
"""Names of files in ``pretrain/assets``, each beside its card. A setting that takes the path of a
checkpoint takes one of them as well."""


def shipped_checkpoint(name: str = SHIPPED_NAME) -> Path:
    """The path of a shipped checkpoint's weights.

    Args:
        name: one of :data:`SHIPPED`.

    Raises:
        WeightsError: this build of the package does not have them.
    """
    path = ASSETS / f"{name}.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"Expected the weights of {name} at {path}, found none: this build comes without "
            "them. Train a model with `python pretrain/run.py` and name its checkpoint: "
            "encoder.checkpoint=RUN/checkpoints/NAME.safetensors."
        )
    return path


def named_checkpoint(name: str) -> str | Path:
    """The path of a shipped checkpoint if ``name`` is one of them, else ``name`` as it is.

    Raises:
        WeightsError: see :func:`shipped_checkpoint`.
    """
    return shipped_checkpoint(name) if name in SHIPPED else name
