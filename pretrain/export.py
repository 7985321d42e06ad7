"""Writes a checkpoint to be passed on: ``python -m pretrain.export run_dir=... out=...``.

The weights of a run go to half precision, and the card gets what the run has measured on its test
clips. The checkpoint that comes with the package was written by this command.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

import egodtm_robot
from egodtm_robot.core.configuration import OutputFile, command
from egodtm_robot.core.errors import CheckpointError
from egodtm_robot.core.storage import format_bytes
from pretrain.checkpoints import load_checkpoint, save_checkpoint
from pretrain.checkpoints.files import OWN_KEYS
from pretrain.learning.results import PretrainResults
from pretrain.learning.trainer import BEST

Precision = Literal["float16", "bfloat16", "float32"]
PRECISIONS: dict[Precision, torch.dtype] = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
}


@dataclass
class ExportConfig:
    """What to export, and where to."""

    run_dir: str = "???"
    """Folder of a finished run of ``pretrain/run.py``."""

    out: OutputFile = "???"
    """Path of the weights, ending in ``.safetensors``; their card goes beside them."""

    precision: Precision = "float16"
    """Type of the stored weights."""

    made_by: str = ""
    """The command that reproduces the run, for the card."""

    def __post_init__(self) -> None:
        """Refuse a path that the weights cannot have.

        Raises:
            CheckpointError: it ends otherwise.
        """
        if Path(self.out).suffix != ".safetensors":
            raise CheckpointError(f"Expected out to end in .safetensors, got {self.out}.")


def export(config: ExportConfig) -> Path:
    """Write the checkpoint and its card.

    Returns:
        The path of the weights.

    Raises:
        CheckpointError: the run is not finished, its checkpoint can't be read, or a weight is too
            large for the precision.
    """
    folder = Path(config.run_dir)
    results = PretrainResults.load(folder)
    model, card = load_checkpoint(folder / "checkpoints" / BEST)
    dtype = PRECISIONS[config.precision]
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor.to(dtype)).all():
            raise CheckpointError(
                f"Expected weights that {config.precision} can hold; {name} is too large. Choose "
                "precision=float32."
            )
    kept = {name: value for name, value in card.items() if name not in OWN_KEYS}
    extra = {
        "package": egodtm_robot.__version__,
        "made_by": config.made_by,
        "test": results.measured(),
    }
    path = Path(config.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, model, {**kept, **extra}, dtype)
    return path


@command(ExportConfig, "export")
def main(config: ExportConfig) -> None:
    """Exports and says how large it is."""
    path = export(config)
    print(f"{path} ({format_bytes(path.stat().st_size)}) and {path.with_suffix('.json').name}")


if __name__ == "__main__":
    main()
