"""Writes a checkpoint to be passed on: ``python -m pretrain.export run_dir=... out=...``.

The weights of a run go to half precision, and the card gets what the run has measured on its test
clips. The checkpoint that comes with the package was written by this command. ``format=onnx`` and
``format=torch_export`` write the video encoder with its preprocessing for other runtimes.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

import egodtm_robot
from egodtm_robot.core.configuration import OutputFile, PositiveInt, command
from egodtm_robot.core.errors import CheckpointError
from egodtm_robot.core.graphs import check_free_output, check_image_size, write_graph
from egodtm_robot.core.storage import format_bytes
from pretrain.checkpoints import load_checkpoint, save_checkpoint
from pretrain.checkpoints.files import OWN_KEYS
from pretrain.checkpoints.shipped import ShippedName
from pretrain.checkpoints.video_graph import VideoOutput, video_graph
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
    """Path of the weights, ending in ``.safetensors``; their card goes beside them. With another
    format ending in ``.onnx`` or ``.pt2``, and free."""

    format: Literal["safetensors", "onnx", "torch_export"] = "safetensors"
    """``safetensors``: the whole model, to be trained on or loaded here. ``onnx`` and
    ``torch_export``: the video encoder as a network in float32, uint8 frames in, which onnxruntime
    or ``torch.export.load`` runs. An encoder of policies is written by ``egodtm_robot.export``."""

    output: VideoOutput = "patches"
    """What a network gives: ``patches``, the tokens (B, T, L, D) of all frames; ``embedding``, the
    clip's place (B, J) in the space that it shares with texts."""

    frames: PositiveInt = 4
    """Frames of a clip that a network takes."""

    image_size: list[int] = field(default_factory=lambda: [224, 224])
    """Height and width of the frames that a network takes, pixels; it resizes them itself."""

    precision: Precision = "float16"
    """Type of the stored weights of ``format=safetensors``."""

    base: ShippedName | None = None
    """Name of a shipped checkpoint (``egodtm_tiny``): only what differs from it is written. Whoever
    loads the file needs this package's version of that one. null writes all."""

    made_by: str = ""
    """The command that reproduces the run, for the card."""

    def __post_init__(self) -> None:
        """Refuse a path that the weights cannot have.

        Raises:
            CheckpointError: it ends otherwise.
        """
        if self.format == "safetensors" and Path(self.out).suffix != ".safetensors":
            raise CheckpointError(f"Expected out to end in .safetensors, got {self.out}.")
        check_image_size(self.image_size)


def export(config: ExportConfig) -> Path:
    """Write the checkpoint and its card, or the video encoder as a network.

    Returns:
        The path of the file.

    Raises:
        CheckpointError: the run is not finished, its checkpoint can't be read, or a weight is too
            large for the precision.
        UnknownNameError: no checkpoint of the name ``base`` is shipped.
        OutputPathError: the path of a network is taken or has another suffix.
        GraphExportError: a network cannot be written, or differs from the original.
    """
    folder = Path(config.run_dir)
    results = PretrainResults.load(folder)
    if config.format != "safetensors":
        check_free_output(Path(config.out), config.format)
    model, card = load_checkpoint(folder / "checkpoints" / BEST)
    if config.format != "safetensors":
        height, width = config.image_size
        graph = video_graph(model, config.output, config.frames, (height, width))
        parity = write_graph(graph, Path(config.out), config.format)
        print(f"compared with the original: {parity}")
        return Path(config.out)
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
    save_checkpoint(path, model, {**kept, **extra}, dtype, config.base)
    return path


@command(ExportConfig, "export")
def main(config: ExportConfig) -> None:
    """Exports and says how large it is."""
    path = export(config)
    card = f" and {path.with_suffix('.json').name}" if config.format == "safetensors" else ""
    print(f"{path} ({format_bytes(path.stat().st_size)}){card}")


if __name__ == "__main__":
    main()
