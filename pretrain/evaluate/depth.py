"""Depth in the units of the truth, after the one scale and shift that a clip leaves open."""

from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import torch

from pretrain.evaluate.clips import PIECE, EvaluationClips
from pretrain.evaluate.model import DepthModel, VideoTextModel
from pretrain.evaluate.plots import depth_sheet
from pretrain.evaluate.task import (
    EvaluationTask,
    Record,
    Scores,
    check_finite,
    column,
    identities,
    mean_estimate,
)
from pretrain.losses import depth_target

METRICS = ("delta1", "rmse", "absrel")

NEAREST = 1e-3
"""Aligned depth is at least so many meters: a ratio needs a positive number."""


_MEAN_MAP_CLIPS = 512
"""Training clips that the mean map is made of: it changes little with more."""

_EXAMPLES = 8
"""Clips in a picture."""


class Depth(EvaluationTask):
    """Depth of clips whose depth is known, up to a scale and a shift a clip.

    Beside a training, ``mean_training_map`` scores the mean depth of the training clips like a
    prediction: that is what the layout of such videos gives away without looking.
    """

    name = "depth"
    headline = "delta1"
    curves = ("delta1", "absrel")

    def __init__(self) -> None:
        self._training: EvaluationClips | None = None
        self._mean_map: np.ndarray | None = None

    def lacks_of_model(self, model: VideoTextModel) -> str | None:
        """A model with depth is needed."""
        return None if hasattr(model, "depth") else "a model with depth"

    def lacks(self, model: VideoTextModel, data: EvaluationClips) -> str | None:
        """Clips with depth are needed besides."""
        known = data.store.has("depth")[data.clips].any()
        return self.lacks_of_model(model) or (None if known else "clips with depth")

    def prepare(self, training: EvaluationClips) -> None:
        """Take the mean map from these clips."""
        self._training = training
        self._mean_map = None

    def measure(
        self, model: VideoTextModel, data: EvaluationClips, items: Sequence[int]
    ) -> list[Record]:
        """The scores of each clip; NaN for clips without depth.

        Raises:
            EvaluationDataError: the model's depth is not finite.
        """
        predicted = cast(DepthModel, model).depth(data.frames(items)).float().cpu().numpy()
        rows, columns = predicted.shape[-2:]
        truth = data.depth(items, (rows, columns)).numpy()
        found = identities(data, items)
        check_finite([{**i, "depth": p} for i, p in zip(found, predicted, strict=True)], "depth")
        records = []
        for identity, one, wanted in zip(found, predicted, truth, strict=True):
            record = {**identity, "unit": data.depth_unit, "scores": depth_scores(one, wanted)}
            if self._training is not None:
                constant = np.broadcast_to(self._training_map((rows, columns)), wanted.shape)
                record["mean_map_scores"] = depth_scores(constant, wanted)
            records.append(record)
        return records

    def score(self, records: Sequence[Record]) -> Scores | None:
        """Means over clips; None if no clip's depth is known."""
        known = [record for record in records if not np.isnan(record["scores"][0])]
        if not known:
            return None
        videos = [record["video"] for record in known]
        numbers = {}
        for group, name in (("", "scores"), ("mean_training_map/", "mean_map_scores")):
            if name in known[0]:
                values = column(known, name)
                means = values.mean(axis=0).tolist()
                for metric, each, mean in zip(METRICS, values.T, means, strict=True):
                    numbers[group + metric] = mean_estimate(
                        each, videos, value=mean, within=range_of(metric)
                    )
        return Scores(
            headline=numbers[self.headline],
            numbers=numbers,
            facts={"clips": len(known), "unit": known[0]["unit"]},
            outcomes=[
                {
                    **{name: record[name] for name in ("item", "clip", "video")},
                    **dict(zip(METRICS, record["scores"].tolist(), strict=True)),
                }
                for record in known
            ],
        )

    def picture(self, model: VideoTextModel, data: EvaluationClips) -> np.ndarray | None:
        """The middle frame of a few clips with its true and its predicted depth."""
        known = np.flatnonzero(data.store.has("depth")[data.clips])
        count = min(_EXAMPLES, len(known))
        if not count:
            return None
        chosen = known[np.arange(count) * len(known) // count].tolist()
        frames = data.frames(chosen)
        predicted = cast(DepthModel, model).depth(frames).float().cpu()
        rows, columns = predicted.shape[-2:]
        target = depth_target(data.depth(chosen, (rows, columns)), (rows, columns))
        truth = torch.where(target.valid, target.depth, torch.nan)
        middle = frames.shape[1] // 2
        return depth_sheet(
            frames[:, middle].numpy(), truth[:, middle].numpy(), predicted[:, middle].numpy()
        )

    def _training_map(self, size: tuple[int, int]) -> np.ndarray:
        assert self._training is not None
        if self._mean_map is None:
            total = len(self._training)
            count = min(_MEAN_MAP_CLIPS, total)
            chosen = (np.arange(count) * total // count).tolist()
            maps = (
                self._training.depth(chosen[start : start + PIECE], size)
                for start in range(0, count, PIECE)
            )
            self._mean_map = mean_map(maps, size)
        return self._mean_map


def range_of(metric: str) -> tuple[float, float] | None:
    """What a number of depth lies between: shares of cells have bounds, errors have none."""
    return (0.0, 1.0) if metric.startswith("delta") else None


def depth_scores(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Score a clip's predicted depth, up to scale and shift.

    Args:
        prediction: float (T, h, w), of any scale, near is small.
        truth: float (T, h, w), positive; NaN where not known.

    Returns:
        float64 (3,), see METRICS: the share of cells whose ratio to the truth, or its inverse, is
        below 1.25; the root of the mean squared error; the mean absolute error as a share of the
        truth. NaN if no depth is known.
    """
    known = np.isfinite(truth) & (truth > 0)
    if not known.any():
        return np.full(3, np.nan)
    wanted = truth[known].astype(np.float64)
    found = np.maximum(align(prediction[known].astype(np.float64), wanted), NEAREST)
    ratio = np.maximum(found / wanted, wanted / found)
    error = found - wanted
    return np.array(
        [
            (ratio < 1.25).mean(),
            np.sqrt((error**2).mean()),
            (np.abs(error) / wanted).mean(),
        ]
    )


def align(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Scale and shift of least squares, applied: float64 (n,), (n,) -> (n,)."""
    centered = prediction - prediction.mean()
    variance = (centered**2).mean()
    scale = (centered * (truth - truth.mean())).mean() / variance if variance > 1e-12 else 0.0
    return scale * centered + truth.mean()


def mean_map(batches: Iterable[torch.Tensor], size: tuple[int, int]) -> np.ndarray:
    """The mean of all training targets, (h, w): what is known of depth without looking.

    Args:
        batches: depth float (B, T, H, W) of training clips, NaN where not known.
        size: (h, w) of the model's maps.
    """
    total, count = torch.zeros(size), torch.zeros(size)
    for depth in batches:
        target = depth_target(depth, size)
        total += target.depth.sum(dim=(0, 1))
        count += target.valid.sum(dim=(0, 1))
    return (total / count.clamp(min=1)).numpy()
