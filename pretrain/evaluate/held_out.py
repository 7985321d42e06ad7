"""All scores of a model on held-out clips, from one pass over them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pretrain.clips.dataset import ClipBatch, ClipDataset, evaluation_batches
from pretrain.evaluate.depth import METRICS, depth_scores
from pretrain.evaluate.multiple_choice import multiple_choice
from pretrain.evaluate.retrieval import retrieval
from pretrain.losses import DepthTarget, RegionTarget, depth_target
from pretrain.losses.region import generalized_iou
from pretrain.model import EgoDTM
from pretrain.model.region_decoder import HANDS, RegionPrediction
from pretrain.model.tokenizer import tokenize
from pretrain.objective import ObjectiveConfig, batch_regions

_TEXTS_AT_ONCE = 64


@dataclass
class Measured:
    """What one process has measured of its share of the clips, n of them.

    Attributes:
        index: the clips.
        texts: their captions.
        video: float32 (n, J), or None without the text objective.
        choices: for each clip float32 (k, J): its caption, then its distractors; likewise.
        depth: float64 (n, 3), see METRICS, NaN for clips without depth; None without the objective.
        mean_map: the same of the mean training map.
        overlap: float64 (n,), mean intersection over union of the boxes, NaN for clips without
            any; None without the objective.
    """

    index: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    video: np.ndarray | None = None
    choices: list[np.ndarray] | None = None
    depth: np.ndarray | None = None
    mean_map: np.ndarray | None = None
    overlap: np.ndarray | None = None

    @classmethod
    def join(cls, parts: "Sequence[Measured]") -> "Measured":
        """What several processes have measured, as one."""

        def rows(name: str) -> np.ndarray | None:
            found = [getattr(part, name) for part in parts if getattr(part, name) is not None]
            return np.concatenate(found) if found else None

        chosen = [part.choices for part in parts if part.choices is not None]
        return cls(
            index=[number for part in parts for number in part.index],
            texts=[text for part in parts for text in part.texts],
            video=rows("video"),
            choices=[choice for part in chosen for choice in part] if chosen else None,
            depth=rows("depth"),
            mean_map=rows("mean_map"),
            overlap=rows("overlap"),
        )


@torch.no_grad()
def measure(
    model: EgoDTM,
    dataset: ClipDataset,
    indices: Sequence[int],
    objective: ObjectiveConfig,
    mean_training_map: np.ndarray | None,
    batch_size: int,
    device: torch.device,
) -> Measured:
    """Run a model over clips and measure what its objective trained.

    Args:
        model: in evaluation mode.
        dataset: held-out clips with what the objective needs.
        indices: which of them.
        objective: what the model was trained for.
        mean_training_map: (h, w), of :func:`pretrain.evaluate.depth.mean_map`.
        batch_size: clips at once.
        device: of the model.
    """
    measured = Measured(index=[int(index) for index in indices])
    video, depth, mean_map, overlap = [], [], [], []
    for batch in evaluation_batches(dataset, indices, batch_size):
        batch = batch.to(device)
        output = model(batch.frames, None, depth=objective.depth > 0, regions=objective.region > 0)
        if objective.text:
            video.append(output.video.embedding.float().cpu().numpy())
        if output.depths is not None:
            assert batch.depth is not None
            predicted = output.depths[-1].depth.float().cpu().numpy()
            for truth, one in zip(batch.depth.cpu().numpy(), predicted, strict=True):
                depth.append(depth_scores(one, truth))
                if mean_training_map is not None:
                    constant = np.broadcast_to(mean_training_map, truth.shape)
                    mean_map.append(depth_scores(constant, truth))
        if output.boxes is not None:
            overlap.append(box_overlap(output.boxes[-1], batch_regions(batch, model.config)))
    fields = dataset.read(indices, ["caption", "distractors"])
    measured.texts = fields["caption"]
    if objective.text and video:
        measured.video = np.concatenate(video)
        asked = [[c, *d] for c, d in zip(fields["caption"], fields["distractors"], strict=True)]
        embedded = embed_texts(model, sorted({text for texts in asked for text in texts}), device)
        measured.choices = [np.stack([embedded[text] for text in texts]) for texts in asked]
    measured.depth = np.stack(depth) if depth else None
    measured.mean_map = np.stack(mean_map) if mean_map else None
    measured.overlap = np.concatenate(overlap) if overlap else None
    return measured


def scores(measured: Measured, metric: bool) -> dict[str, Any]:
    """The scores of all clips measured, as plain JSON; None for what was not trained.

    Args:
        measured: of all processes.
        metric: whether the clips' depth is in metres.

    Returns:
        ``retrieval``, ``multiple_choice``, ``depth``, ``regions`` and their ``score``: the mean of
        retrieval's mean average precision in both directions, delta1 and the boxes' overlap, as far
        as they were trained.
    """
    found: dict[str, Any] = {
        "clips": len(measured.index),
        "retrieval": None,
        "multiple_choice": None,
        "depth": None,
        "regions": None,
    }
    summary = []
    if measured.video is not None and measured.choices is not None:
        texts = np.stack([choice[0] for choice in measured.choices])
        found["retrieval"] = retrieval(measured.video, texts, measured.texts)
        found["multiple_choice"] = multiple_choice(measured.video, measured.choices)
        directions = ("text_to_video", "video_to_text")
        summary.append(np.mean([found["retrieval"][name]["map"] for name in directions]))
    if measured.depth is not None and (known := ~np.isnan(measured.depth[:, 0])).any():
        means = measured.depth[known].mean(axis=0).tolist()
        found["depth"] = dict(zip(METRICS, means, strict=True))
        found["depth"] |= {"clips": int(known.sum()), "unit": "m" if metric else "relative"}
        if measured.mean_map is not None:
            constant = measured.mean_map[known].mean(axis=0).tolist()
            found["depth"]["mean_training_map"] = dict(zip(METRICS, constant, strict=True))
        summary.append(found["depth"]["delta1"])
    if measured.overlap is not None and not np.isnan(measured.overlap).all():
        found["regions"] = {"iou": float(np.nanmean(measured.overlap))}
        summary.append(found["regions"]["iou"])
    found["score"] = float(np.mean(summary)) if summary else 0.0
    return found


def embed_texts(model: EgoDTM, texts: Sequence[str], device: torch.device) -> dict[str, np.ndarray]:
    """The embedding float32 (J,) of each text."""
    found: dict[str, np.ndarray] = {}
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        part = texts[start : start + _TEXTS_AT_ONCE]
        rows = model.encode_text(tokenize(part).to(device)).float().cpu().numpy()
        found |= dict(zip(part, rows, strict=True))
    return found


def box_overlap(prediction: RegionPrediction, target: RegionTarget) -> np.ndarray:
    """Mean intersection over union of each clip's boxes with those of their roles: float64 (B,).

    An object's box counts with the object query that overlaps with it best in its frame; NaN for
    clips without boxes.
    """
    pairs = generalized_iou(prediction.boxes[:, :, :, None], target.boxes[:, :, None])
    # Boxes that do not meet have a negative generalised overlap; of those that do it is close.
    pairs = pairs.clamp(min=0)
    roles = pairs.shape[2]
    hands = pairs[:, :, range(HANDS), range(HANDS)]
    overlap = hands
    if roles > HANDS:
        overlap = torch.cat([hands, pairs[:, :, HANDS:, HANDS:].amax(dim=2)], dim=2)
    present = target.present.flatten(1)
    total = torch.where(present, overlap.flatten(1), 0.0).sum(dim=1)
    count = present.sum(dim=1)
    mean = torch.where(count > 0, total / count.clamp(min=1), torch.nan)
    return mean.double().cpu().numpy()


@torch.no_grad()
def depth_examples(model: EgoDTM, batch: ClipBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middle frame of each clip with its true and its predicted depth in [0, 1].

    Returns:
        uint8 (n, H, W, 3), float32 (n, h, w) with NaN where not known, and float32 (n, h, w).
    """
    assert batch.depth is not None
    output = model(batch.frames, None, depth=True)
    predicted = output.depths[-1].depth.float()
    target: DepthTarget = depth_target(batch.depth, tuple(predicted.shape[-2:]))
    truth = torch.where(target.valid, target.depth, torch.nan)
    middle = batch.frames.shape[1] // 2
    return (
        batch.frames[:, middle].cpu().numpy(),
        truth[:, middle].cpu().numpy(),
        predicted[:, middle].cpu().numpy(),
    )
