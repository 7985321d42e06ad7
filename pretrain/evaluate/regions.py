"""Boxes of hands and objects, each compared with the box of its role."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.model import BoxModel, VideoTextModel
from pretrain.evaluate.task import (
    EvaluationTask,
    Record,
    Scores,
    check_finite,
    column,
    identities,
    mean_estimate,
)
from pretrain.losses import RegionTarget, region_target
from pretrain.losses.region import generalized_iou
from pretrain.model.region_decoder import HANDS


class Regions(EvaluationTask):
    """The mean intersection over union of boxes with those of their roles.

    It is a mean over the clips whose boxes are known, of means over their boxes.
    """

    name = "regions"
    headline = "iou"
    curves = ("iou",)

    def lacks_of_model(self, model: VideoTextModel) -> str | None:
        """A model that finds hands and objects is needed."""
        return None if hasattr(model, "boxes") else "a model with boxes"

    def measure(
        self, model: VideoTextModel, data: EvaluationClips, items: Sequence[int]
    ) -> list[Record]:
        """The overlap of each clip; NaN for clips without boxes.

        Raises:
            EvaluationDataError: the model's boxes are not finite.
        """
        boxes = cast(BoxModel, model).boxes(data.frames(items)).float().cpu()
        found = identities(data, items)
        each = zip(found, boxes.numpy(), strict=True)
        check_finite([{**identity, "boxes": one} for identity, one in each], "boxes")
        target = region_target(data.boxes(items), boxes.shape[1], boxes.shape[2] - HANDS)
        overlap = box_overlap(boxes, target).tolist()
        return [{**identity, "iou": one} for identity, one in zip(found, overlap, strict=True)]

    def score(self, records: Sequence[Record]) -> Scores | None:
        """The mean over clips; None if no clip has boxes."""
        known = [record for record in records if not np.isnan(record["iou"])]
        if not known:
            return None
        videos = [record["video"] for record in known]
        mean = float(np.nanmean(column(records, "iou")))
        overlap = mean_estimate(column(known, "iou"), videos, value=mean)
        return Scores(headline=overlap, numbers={"iou": overlap}, outcomes=known)


def box_overlap(boxes: torch.Tensor, target: RegionTarget) -> np.ndarray:
    """Mean intersection over union of each clip's boxes with those of their roles: float64 (B,).

    An object's box counts with the object query that overlaps with it best in its frame; NaN for
    clips without boxes.

    Args:
        boxes: float32 (B, T, R, 4), see :class:`pretrain.evaluate.model.BoxModel`.
        target: of the same roles.
    """
    pairs = generalized_iou(boxes[:, :, :, None], target.boxes[:, :, None])
    # Boxes that do not meet have a negative generalized overlap; of those that do it is close.
    pairs = pairs.clamp(min=0)
    roles = pairs.shape[2]
    overlap = pairs[:, :, range(HANDS), range(HANDS)]
    if roles > HANDS:
        objects = pairs[:, :, HANDS:, HANDS:].amax(dim=2)
        overlap = torch.cat([overlap, objects], dim=2)
    present = target.present.flatten(1)
    total = torch.where(present, overlap.flatten(1), 0.0).sum(dim=1)
    count = present.sum(dim=1)
    mean = torch.where(count > 0, total / count.clamp(min=1), torch.nan)
    return mean.double().cpu().numpy()
