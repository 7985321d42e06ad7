"""Dense truth at the tokens: classes, normals, and the same surface point in two frames.

Objectness at this grain is what predicts success at manipulation (SlotMIM, arXiv 2503.06960), and
points found again in another frame are what dense contrastive learning asks for (DenseCL, arXiv
2011.09157) where augmentation has to stand in for the truth that a simulator has.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

from egodtm_robot.core.errors import ConfigurationError, ModelInputError
from pretrain.clips.dense import CLASSES, DenseKind, Label, frame_pairs
from pretrain.losses.distributed import global_mean
from pretrain.model.dense_head import DensePart, DensePrediction, DenseSource

_TRUTH: dict[DensePart, DenseKind] = {
    "segmentation": "segmentation",
    "normals": "normals",
    "correspondence": "points",
}
"""What each part is compared with."""

_WEIGHTS: dict[Label, float] = {"handle": 4, "knob": 6, "button": 8, "object": 1.5, "hand": 1.5}
"""Of classes in the cross-entropy, the others 1: about the inverse root of how often they are
seen."""


@dataclass
class DenseLossConfig:
    """Weights of what single tokens have to tell; all 0 leave the head out."""

    segmentation: float = 0.0
    """Cross-entropy of the class that each cell shows, handles and knobs among them."""

    normals: float = 0.0
    """1 - cosine between predicted and true surface normals."""

    correspondence: float = 0.0
    """Cross-entropy of finding the token of another frame that shows the same surface point, among
    all tokens of that frame. Single frames (``training.image_share``) have none."""

    attach: DenseSource = "stem"
    """Tokens that the head reads: the ``stem``'s, so that gradients need not come back through the
    blocks behind it, or the ``patches`` behind the last block."""

    hidden: int = 0
    """Hidden channels of the head; 0 for a linear map."""

    head_rate: float = 10.0
    """Learning rate of the head as a multiple of ``training.learning_rate``: what it hands back to
    the tokens is of use only once it has learned something itself."""

    cells: int = 4
    """Cells of the maps of classes and normals along a patch's side."""

    embedding: int = 64
    """Channels by which a point is found in another frame."""

    temperature: float = 0.1
    """Divides similarities of tokens in ``correspondence``."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a number is out of range.
        """
        weights = (self.segmentation, self.normals, self.correspondence)
        positive = min(self.temperature, self.head_rate)
        if not min(weights) >= 0 or not positive > 0 or self.hidden < 0:
            raise ConfigurationError(
                "Expected weights segmentation, normals and correspondence of 0 or more, hidden of "
                "0 or more, and head_rate and temperature above 0 in objective.dense, got "
                f"{', '.join(map(str, weights))}, {self.hidden}, {self.head_rate} and "
                f"{self.temperature}."
            )
        if min(self.cells, self.embedding) < 1:
            raise ConfigurationError(
                "Expected cells and embedding of 1 or more in objective.dense, got "
                f"{self.cells} and {self.embedding}."
            )

    @property
    def weights(self) -> dict[DensePart, float]:
        """Of the parts that are trained."""
        every: dict[DensePart, float] = {
            "segmentation": self.segmentation,
            "normals": self.normals,
            "correspondence": self.correspondence,
        }
        return {part: weight for part, weight in every.items() if weight}

    @property
    def truth(self) -> tuple[DenseKind, ...]:
        """What clips have to have."""
        return tuple(_TRUTH[part] for part in self.weights)


def dense_losses(
    prediction: DensePrediction,
    truth: Mapping[str, torch.Tensor],
    config: DenseLossConfig,
) -> dict[str, torch.Tensor]:
    """The losses of the parts that have a weight, each a mean over the clips of the global batch.

    Args:
        prediction: of all clips.
        truth: of the same clips, see ``pretrain.clips.augmentation.crop_dense``, stacked.
        config: which parts.

    Returns:
        Scalars by part, unweighted, see :mod:`pretrain.losses`.

    Raises:
        ModelInputError: prediction and truth differ in shape.
    """
    found: dict[str, torch.Tensor] = {}
    for part in config.weights:
        if part == "segmentation":
            assert prediction.segmentation is not None
            values = class_error(prediction.segmentation, truth["segmentation"])
        elif part == "normals":
            assert prediction.normals is not None
            values = normal_error(prediction.normals, truth["normals"])
        else:
            assert prediction.embeddings is not None
            values = search_error(prediction.embeddings, truth["points"], config.temperature)
        counted = ~values.isnan()
        found[part] = global_mean(torch.where(counted, values, 0.0), counted)
    return found


def class_error(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Weighted mean cross-entropy of a clip's cells: (B, T, h, w, C), (B, T, h, w) -> (B,)."""
    _check("segmentation", logits.shape[:-1], classes.shape)
    weights = torch.tensor([_WEIGHTS.get(label, 1.0) for label in CLASSES], device=logits.device)
    wanted = classes.long()
    errors = functional.cross_entropy(logits.flatten(0, -2), wanted.flatten(), reduction="none")
    own = weights[wanted]
    return (errors.view_as(own) * own).flatten(1).sum(dim=1) / own.flatten(1).sum(dim=1)


def normal_error(predicted: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
    """Mean of 1 - cosine over a clip's known cells: (B, T, h, w, 3) twice -> (B,), NaN of none."""
    _check("normals", predicted.shape, normals.shape)
    known = ~normals.isnan().any(dim=-1)
    wanted = torch.where(known[..., None], normals, 0.0)
    errors = 1 - functional.cosine_similarity(predicted, wanted, dim=-1)
    return _mean(errors, known)


def search_error(
    embeddings: torch.Tensor, points: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Mean cross-entropy of finding tokens again in later frames and, back, in earlier ones.

    A point between four tokens is shared among them by bilinear weights, and for each token of the
    later frame the points that came to it are.

    Args:
        embeddings: (B, T, rows, columns, E), of length 1.
        points: (B, P, rows, columns, 2), see :mod:`pretrain.clips.dense`.
        temperature: divides similarities.

    Returns:
        (B,), NaN for clips without any pair.
    """
    pairs = frame_pairs(embeddings.shape[1])
    rows, columns = embeddings.shape[2:4]
    _check("points", (len(embeddings), len(pairs), rows, columns, 2), points.shape)
    if not pairs:
        # Of no value, but with gradients of 0: processes that train together wait for all.
        return 0 * embeddings.flatten(1).sum(dim=1) + torch.nan
    flat = embeddings.flatten(2, 3)
    first = torch.tensor([one for one, _ in pairs], device=embeddings.device)
    second = torch.tensor([two for _, two in pairs], device=embeddings.device)
    logits = flat[:, first] @ flat[:, second].transpose(-1, -2) / temperature  # (B, P, L, L)
    shares = bilinear_shares(points.flatten(2, 3), (rows, columns))
    forth = _mean(_soft_error(logits, shares), shares.sum(dim=-1) > 0)
    back = shares.transpose(-1, -2)
    reached = back.sum(dim=-1)
    back = back / reached.clamp(min=1e-6)[..., None]
    # A token that a point has hardly touched is not asked where it came from.
    return (forth + _mean(_soft_error(logits.transpose(-1, -2), back), reached > 0.5)) / 2


def bilinear_shares(points: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Points (..., 2), shares of an image, as weights (..., rows * columns) of a grid's cells.

    The weights of a point sum to 1, or to 0 where it is not known (NaN).
    """
    known = ~points.isnan().any(dim=-1)
    rows, columns = grid
    place = torch.where(known[..., None], points, 0.5)
    across = (place[..., 0] * columns - 0.5).clamp(0, columns - 1)
    down = (place[..., 1] * rows - 0.5).clamp(0, rows - 1)

    def along(position: torch.Tensor, count: int) -> torch.Tensor:
        cells = torch.arange(count, device=position.device)
        return (1 - (position[..., None] - cells).abs()).clamp(min=0)

    shares = along(down, rows)[..., :, None] * along(across, columns)[..., None, :]
    return shares.flatten(-2) * known[..., None]


def _soft_error(logits: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the last axis with soft labels: (..., L) twice -> (...)."""
    return -(shares * functional.log_softmax(logits, dim=-1)).sum(dim=-1)


def _mean(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Mean of what counts of each clip: (B, ...) -> (B,); NaN where nothing does."""
    number = counted.flatten(1).sum(dim=1)
    total = torch.where(counted, values, 0.0).flatten(1).sum(dim=1)
    return torch.where(number > 0, total / number.clamp(min=1), torch.nan)


def _check(name: str, wanted: tuple[int, ...], found: tuple[int, ...]) -> None:
    if tuple(wanted) != tuple(found):
        raise ModelInputError(
            f"Expected {name} of shape {tuple(wanted)}, got {tuple(found)}; crop_dense brings them "
            "to the grid."
        )
