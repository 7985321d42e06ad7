"""A model from any file of weights: ours by its card, a published one by its names."""

from dataclasses import dataclass
from pathlib import Path

from egodtm_robot.core.errors import CheckpointError
from pretrain.checkpoints.families import Part, read_published
from pretrain.checkpoints.files import load_checkpoint
from pretrain.model import EgoDTM


@dataclass(frozen=True)
class LoadedModel:
    """A model that was loaded from a file.

    Attributes:
        model: in evaluation mode.
        lacking: parts of it that the file does not have; they have no values (meta device).
        description: what was recognized and set, in one line; None for a checkpoint of ours, whose
            card says it.
    """

    model: EgoDTM
    lacking: frozenset[Part] = frozenset()
    description: str | None = None


def load_model(path: str | Path) -> LoadedModel:
    """Read a model.

    Args:
        path: weights that ``pretrain.run`` or ``pretrain.export`` wrote, beside their card; or a
            file of EgoDTM, AVION or OpenAI's CLIP as it was published (``.pt``, ``.pth``,
            ``.safetensors``), see :mod:`pretrain.checkpoints.families`.

    Raises:
        CheckpointError: there is no file, or it is none of these.
        WeightsError: a published file cannot be read.
        CheckpointMismatchError: lists tensors that are missing, unexpected or of another shape.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(
            f"Expected weights at {path}, found no file. Name a checkpoint of pretrain.run "
            "(.safetensors, beside its card) or a published file of EgoDTM, AVION or CLIP."
        )
    if path.suffix == ".safetensors" and path.with_suffix(".json").is_file():
        model, _ = load_checkpoint(path)
        return LoadedModel(model)
    published = read_published(path)
    return LoadedModel(published.build(), published.lacking, published.describe())
